//! Connections that have not attached anything: how many there are, and of those that prove nothing but a key how many
//! from one place.

use std::collections::HashMap;
use std::net::IpAddr;

/// So many there may be.
const MOST: usize = 1024;
/// So many of them that come through TLS from one address; of IPv6 from one network of 64 bits, which is a customer's.
const MOST_FROM_ONE: usize = 256;

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Strangers {
    count: usize,
    from: HashMap<IpAddr, usize>,
}

impl Strangers {
    /// One more comes from `place`. False when there are too many.
    pub fn enter(&mut self, place: Option<IpAddr>) -> bool {
        let place = place.map(network);
        let from_there = place.and_then(|place| self.from.get(&place)).copied().unwrap_or(0);
        if self.count >= MOST || from_there >= MOST_FROM_ONE {
            return false;
        }
        self.count += 1;
        place.into_iter().for_each(|place| *self.from.entry(place).or_default() += 1);
        true
    }

    /// One that came from `place` is none any more.
    pub fn leave(&mut self, place: Option<IpAddr>) {
        self.count -= 1;
        let Some(place) = place.map(network) else { return };
        if let Some(count) = self.from.get_mut(&place) {
            *count -= 1;
            if *count == 0 {
                self.from.remove(&place);
            }
        }
        if self.from.is_empty() {
            self.from = HashMap::new(); // memory that many took is given back
        }
    }
}

/// What one customer has.
fn network(place: IpAddr) -> IpAddr {
    match place.to_canonical() {
        IpAddr::V6(place) => IpAddr::V6((place.to_bits() >> 64 << 64).into()),
        place => place,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    #[test]
    fn one_place_does_not_take_all_there_is() {
        let mut strangers = Strangers::default();
        let (one, same, other) = (place("2001:db8::1"), place("2001:db8::ffff:2"), place("2001:db8:0:1::1"));
        assert!((0..MOST_FROM_ONE).all(|_| strangers.enter(one)));
        assert!(!strangers.enter(one) && !strangers.enter(same));
        assert!(strangers.enter(other) && strangers.enter(None));
        strangers.leave(same);
        assert!(strangers.enter(one));
        assert!(!strangers.enter(one));
    }

    #[test]
    fn there_is_an_end_for_all_places_together() {
        let mut strangers = Strangers::default();
        let places: Vec<_> = (0..MOST as u32).map(|number| Some(IpAddr::V4(number.into()))).collect();
        assert!(places.iter().all(|place| strangers.enter(*place)));
        assert!(!strangers.enter(place("192.0.2.1")) && !strangers.enter(None));
        places.iter().for_each(|place| strangers.leave(*place));
        assert!(strangers.from.is_empty() && strangers.enter(None));
    }
}
