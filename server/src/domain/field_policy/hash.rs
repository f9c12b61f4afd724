//! The keyed hash that stands in a value's place: equal for equal values, however they are spelled.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::value::RawValue;
use sha2::Sha256;
use zeroize::Zeroize as _;

use super::Error;
use super::json::{self, Cursor};

/// Nesting of a hashed value. No accepted payload is deeper.
const MAX_DEPTH: usize = 64;

/// An endpoint's key for hashed members. Nobody without it can try out guesses, and no two endpoints can match theirs.
#[derive(Clone)]
pub struct HashKey(Hmac<Sha256>);

impl HashKey {
    /// The key of 32 random bytes.
    pub fn new(mut bytes: [u8; 32]) -> Self {
        // HMAC pads a key with zeros to the hash's block, so writing it into a zero block is the same key and cannot fail.
        let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
        block.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        let key = Self(Hmac::new(&block));
        block.as_mut_slice().zeroize();
        bytes.zeroize();
        key
    }

    /// What stands for a JSON value: `hmac-sha256:` and the base64url, without padding, of an HMAC-SHA256 over one byte for the
    /// value's type and the value.
    ///
    /// | type | byte | value |
    /// |---|---|---|
    /// | string | `s` | its UTF-8, unescaped and without quotes |
    /// | number | `n` | its text as published: `1`, `1.0` and `1e0` differ |
    /// | `true`, `false` | `b` | that word |
    /// | `null` | `z` | that word |
    /// | object | `o` | its JSON in canonical form |
    /// | array | `a` | its JSON in canonical form |
    ///
    /// Canonical is: no insignificant space; members by the UTF-8 of their names, those of one name in their order; in strings only
    /// what must be is escaped, as `\"` `\\` `\b` `\f` `\n` `\r` `\t`, and else below U+0020 as `\u00` and two lower-case digits;
    /// numbers as published.
    ///
    /// # Errors
    /// [`Error`]: `value` is no JSON, or nested more than 64 deep.
    pub fn hash(&self, value: &str) -> Result<String, Error> {
        self.hash_value(serde_json::from_str(value).map_err(|_| Error::NotAnObject)?)
    }

    pub(super) fn hash_value(&self, value: &RawValue) -> Result<String, Error> {
        let mut mac = self.0.clone();
        let mut cursor = Cursor::new(value);
        let tag = match cursor.peek() {
            Some(b'"') => b"s",
            Some(b't' | b'f') => b"b",
            Some(b'n') => b"z",
            Some(b'{') => b"o",
            Some(b'[') => b"a",
            _ => b"n",
        };
        mac.update(tag);
        match tag {
            b"s" => mac.update(&json::text(value.get())?),
            _ => {
                let mut text = Vec::with_capacity(value.get().len());
                write(&mut cursor, MAX_DEPTH, &mut text)?;
                mac.update(&text);
            }
        }
        let mut hash = String::with_capacity(PREFIX.len() + 43);
        hash.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(mac.finalize().into_bytes(), &mut hash);
        Ok(hash)
    }
}

const PREFIX: &str = "hmac-sha256:";

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey([REDACTED])")
    }
}

/// `depth`: how many levels may still be opened.
fn write(cursor: &mut Cursor<'_>, depth: usize, out: &mut Vec<u8>) -> Result<(), Error> {
    let deeper = || depth.checked_sub(1).ok_or(Error::TooDeep);
    if cursor.takes(b'{') {
        write_members(cursor, deeper()?, out)
    } else if cursor.takes(b'[') {
        let deeper = deeper()?;
        out.push(b'[');
        while !cursor.takes(b']') {
            if cursor.takes(b',') {
                out.push(b',');
            }
            write(cursor, deeper, out)?;
        }
        out.push(b']');
        Ok(())
    } else {
        let string = cursor.peek() == Some(b'"');
        let spelled = cursor.scalar()?;
        if string {
            write_string(&json::text(spelled)?, out)
        } else {
            out.extend_from_slice(spelled.as_bytes())
        }
        Ok(())
    }
}

fn write_members(cursor: &mut Cursor<'_>, depth: usize, out: &mut Vec<u8>) -> Result<(), Error> {
    out.push(b'{');
    let start = out.len();
    let mut members = Vec::new();
    while !cursor.takes(b'}') {
        if cursor.takes(b',') {
            out.push(b',');
        }
        let from = out.len() - start;
        let name = json::text(cursor.scalar()?)?;
        write_string(&name, out);
        out.push(b':');
        cursor.takes(b':');
        write(cursor, depth, out)?;
        members.push((name, from..out.len() - start));
    }
    if !members.is_sorted_by(|(one, _), (next, _)| one <= next) {
        // Stable, as which of two members of one name counts is the reader's choice: they are not made equal to their reverse.
        members.sort_by(|(one, _), (other, _)| one.cmp(other));
        let written = out.split_off(start);
        for (index, (_, place)) in members.into_iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(written.get(place).unwrap_or_default());
        }
    }
    out.push(b'}');
    Ok(())
}

fn write_string(text: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    for byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => {
                out.extend_from_slice(b"\\u00");
                out.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            _ => out.push(*byte),
        }
    }
    out.push(b'"');
}
