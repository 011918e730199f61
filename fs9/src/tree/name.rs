//! What a name may be.

use rustix::io::Errno;

use crate::view::View;

/// A name as text. EINVAL when it is not UTF-8, ENAMETOOLONG when no name (with the suffix of a view) is so long.
pub fn text(name: &[u8]) -> Result<&str, Errno> {
    if name.len() > 255 + ":whole".len() {
        return Err(Errno::NAMETOOLONG);
    }
    std::str::from_utf8(name).map_err(|_| Errno::INVAL)
}

/// A name for something new.
///
/// # Errors
/// ENAMETOOLONG over 255 bytes; EINVAL for the empty name, `.`, `..`, a `/`, NUL or other control character (a listing
/// must stay one line a name), bytes that are not UTF-8, or the suffix of a view.
pub fn checked(name: &[u8]) -> Result<&str, Errno> {
    if name.len() > 255 {
        return Err(Errno::NAMETOOLONG);
    }
    let name = text(name)?;
    let is_view = View::split(name).1 != View::Plain;
    if name.is_empty() || name == "." || name == ".." || is_view || name.contains(|c: char| c == '/' || c.is_control())
    {
        return Err(Errno::INVAL);
    }
    Ok(name)
}
