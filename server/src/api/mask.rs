//! Which fields an update changes: `update_mask`, or without one the fields that are set.
//!
//! Source: AIP-134.

use prost_types::FieldMask;

use super::Violations;

/// The fields to change.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mask(Vec<&'static str>);

impl Mask {
    /// All of these fields.
    pub(super) fn all(known: &[&'static str]) -> Self {
        Self(known.to_vec())
    }

    /// Reads a mask. `known`: what may be changed. `is_set`: whether the message holds more than the default there.
    pub(super) fn read(
        bad: &mut Violations,
        mask: Option<&FieldMask>,
        known: &[&'static str],
        is_set: impl Fn(&str) -> bool,
    ) -> Self {
        let Some(mask) = mask.filter(|mask| !mask.paths.is_empty()) else {
            return Self(known.iter().copied().filter(|field| is_set(field)).collect());
        };
        if mask.paths == ["*"] {
            return Self::all(known);
        }
        let mut fields = Vec::new();
        let mut unknown = Vec::new();
        for path in &mask.paths {
            match known.iter().find(|field| *field == path) {
                Some(field) => fields.push(*field),
                None => unknown.push(path.as_str()),
            }
        }
        if !unknown.is_empty() {
            bad.add(
                "update_mask",
                format_args!("`{}` cannot be changed; what can: {}, or `*`", unknown.join("`, `"), known.join(", ")),
            );
        }
        Self(fields)
    }

    /// Whether this field changes.
    pub(super) fn has(&self, field: &str) -> bool {
        self.0.contains(&field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["url", "display_name"];

    fn read(paths: Option<&[&str]>) -> (Mask, Violations) {
        let mut bad = Violations::new();
        let mask = paths.map(|paths| FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() });
        let mask = Mask::read(&mut bad, mask.as_ref(), KNOWN, |field| field == "display_name");
        (mask, bad)
    }

    #[test]
    fn without_a_mask_the_fields_that_are_set_change() {
        for paths in [None, Some(&[][..])] {
            let (mask, bad) = read(paths);
            assert!(mask.has("display_name") && !mask.has("url") && bad.is_empty());
        }
    }

    #[test]
    fn a_star_changes_all_and_a_list_what_it_names() {
        assert_eq!(read(Some(&["*"])).0, Mask::all(KNOWN));
        let (mask, bad) = read(Some(&["url"]));
        assert!(mask.has("url") && !mask.has("display_name") && bad.is_empty());
    }

    #[test]
    fn an_unknown_path_is_a_bad_field() {
        for paths in [&["name"][..], &["url", "state"], &["url", "*"], &[""]] {
            assert!(!read(Some(paths)).1.is_empty(), "{paths:?}");
        }
    }
}
