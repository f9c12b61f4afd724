//! Percent-encoding, for header values and paths.

/// `text` with each byte of its UTF-8 that `keep` refuses as `%` and two upper-case hex digits.
pub(super) fn encode(text: &str, keep: impl Fn(u8) -> bool) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        // A byte above ASCII is part of a character: alone it cannot be kept.
        if byte.is_ascii() && keep(byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push(char::from(HEX[usize::from(byte >> 4)]));
            encoded.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_not_ascii_is_never_kept() {
        assert_eq!(super::encode("aé b", |_| true), "a%C3%A9 b");
        assert_eq!(super::encode("aé b", |byte| byte != b' '), "a%C3%A9%20b");
        assert_eq!(super::encode("a", |_| false), "%61");
    }
}
