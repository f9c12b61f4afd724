//! A source file as the rules see it: its code without comments and strings, and its strings apart.

use std::path::Path;

/// One file, with its path below the folder that was read, such as `delivery/queue.rs`.
pub(crate) struct Source {
    pub(crate) path: String,
    /// Code with comments and the insides of strings blanked out; lines stay where they were.
    pub(crate) code: String,
    /// Each string literal with its line, from 1.
    pub(crate) strings: Vec<(usize, String)>,
}

impl Source {
    /// All Rust files and Cargo manifests below a folder of the workspace.
    pub(crate) fn all_of(folder: &str) -> Vec<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
        let mut sources = Vec::new();
        read(&root, &root, &mut sources);
        sources
    }

    pub(crate) fn new(path: &str, text: &str) -> Self {
        let (mut code, mut strings) = (String::with_capacity(text.len()), Vec::new());
        let mut rest = text;
        while let Some(character) = rest.chars().next() {
            let (length, kind) = token(rest, code.chars().last());
            let (taken, after) = rest.split_at(length.max(character.len_utf8()));
            match kind {
                Kind::Code => code.push_str(taken),
                Kind::Comment => code.extend(taken.chars().filter(|character| *character == '\n')),
                Kind::String => {
                    strings.push((line_at(&code, code.len()), taken.to_owned()));
                    code.push('"');
                    code.extend(taken.chars().filter(|character| *character == '\n'));
                    code.push('"');
                }
            }
            rest = after;
        }
        Self { path: path.to_owned(), code, strings }
    }

    /// The room a file belongs to: the first part of its path.
    pub(crate) fn room(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// Whether it holds tests alone.
    pub(crate) fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// How many modules lie between the crate's root and the inside of this file.
    pub(crate) fn depth(&self) -> usize {
        let folders = self.path.matches('/').count();
        let root = self.path == "lib.rs" || self.path == "main.rs";
        if root || self.path.ends_with("/mod.rs") { folders } else { folders + 1 }
    }

    /// Where `name` stands in the code as a whole identifier.
    pub(crate) fn places_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = usize> + 'a {
        let starts_alone = move |at: &usize| !self.code[..*at].ends_with(|before: char| is_word(before) || before == '$');
        let ends_alone = move |at: &usize| !name.ends_with(is_word) || !self.code[at + name.len()..].starts_with(is_word);
        self.code.match_indices(name).map(|(at, _)| at).filter(starts_alone).filter(ends_alone)
    }

    /// A breach at a place in the code, for people.
    pub(crate) fn at(&self, place: usize, what: &str) -> String {
        format!("{}:{}: {what}", self.path, line_at(&self.code, place))
    }
}

pub(crate) fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

enum Kind {
    Code,
    Comment,
    String,
}

/// The length in bytes of the token at the start of `rest`, and what it is.
fn token(rest: &str, before: Option<char>) -> (usize, Kind) {
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), Kind::Comment);
    }
    if rest.starts_with("/*") {
        return (block_comment(rest), Kind::Comment);
    }
    let literal = rest.strip_prefix('b').unwrap_or(rest);
    let prefix = rest.len() - literal.len();
    if literal.starts_with('"') {
        return (prefix + string(literal), Kind::String);
    }
    let hashes = literal.strip_prefix('r').map(|after| after.len() - after.trim_start_matches('#').len());
    if let Some(hashes) = hashes.filter(|_| !before.is_some_and(is_word))
        && literal[1 + hashes..].starts_with('"')
    {
        let end = format!("\"{}", "#".repeat(hashes));
        let start = 1 + hashes + 1;
        let length = literal[start..].find(&end).map_or(literal.len(), |at| start + at + end.len());
        return (prefix + length, Kind::String);
    }
    // A quote or a backslash as a character would open a string.
    for character in ["'\"'", "'\\''", "'\\\"'", "'\\\\'"] {
        if rest.starts_with(character) {
            return (character.len(), Kind::Code);
        }
    }
    (0, Kind::Code)
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at.min(rest.len())
}

fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn line_at(text: &str, place: usize) -> usize {
    1 + text[..place].matches('\n').count()
}

fn read(root: &Path, folder: &Path, sources: &mut Vec<Source>) {
    for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("a folder's entry").path();
        if path.is_dir() {
            read(root, &path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "toml") {
            let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let name = path.strip_prefix(root).expect("a file lies in its folder").to_string_lossy().into_owned();
            sources.push(Source::new(&name, &text));
        }
    }
}
