//! What a flag may hold: the text itself, `@FILE`, or `-` for standard input.

use std::io::Read;

use bytes::Bytes;

use super::failure::Failure;

/// Its bytes, as they are.
///
/// # Errors
/// The file or standard input cannot be read.
pub(crate) fn bytes(given: &str) -> Result<Bytes, Failure> {
    if let Some(file) = given.strip_prefix('@') {
        return std::fs::read(file).map(Bytes::from).map_err(|error| Failure::io(format!("cannot read {file}"), error));
    }
    if given == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).map_err(|error| Failure::io("cannot read standard input", error))?;
        return Ok(bytes.into());
    }
    Ok(given.to_owned().into())
}

/// The same as text.
///
/// # Errors
/// It cannot be read, or is not UTF-8.
pub(crate) fn text(given: &str) -> Result<String, Failure> {
    String::from_utf8(bytes(given)?.into()).map_err(|error| Failure::other(format!("{given} is not UTF-8"), error.utf8_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_taken_byte_for_byte() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("data.json");
        std::fs::write(&file, "{ \"a\" : 1 }\n").unwrap();
        assert_eq!(&bytes(&format!("@{}", file.display())).unwrap()[..], b"{ \"a\" : 1 }\n");
        assert_eq!(&bytes("{ }").unwrap()[..], b"{ }");
        assert_eq!(bytes("@/nowhere").unwrap_err().exit_code(), 1);
    }

    #[test]
    fn text_is_utf8() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bad");
        std::fs::write(&file, [0xff]).unwrap();
        assert_eq!(text(&format!("@{}", file.display())).unwrap_err().exit_code(), 1);
        assert_eq!(text("héllo").unwrap(), "héllo");
    }
}
