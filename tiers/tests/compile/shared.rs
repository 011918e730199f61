//! What is shared or borrowed stays where it is.

fn main() {
    let _ = fs9_tiers::pair::<std::rc::Rc<u8>, &'static u8>();
}
