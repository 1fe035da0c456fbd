//! Every path that a file names, with `use` groups taken apart, and which of them belong to test code.

use crate::lex::{Kind, Token};

/// One path such as `crate::time::Span`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    /// Its words; `*` for a glob.
    pub(crate) segments: Vec<String>,
    /// The line of its last word.
    pub(crate) line: usize,
    /// Names of the inline modules it stands in, outermost first.
    pub(crate) inside: Vec<String>,
    /// Whether it is compiled for tests only.
    pub(crate) test: bool,
    /// Whether a `!` follows: a macro.
    pub(crate) bang: bool,
    /// Whether a `(` follows: a call.
    pub(crate) call: bool,
    /// Whether it says who may see an item: `pub(super)`, `pub(in crate::proxy)`.
    pub(crate) visibility: bool,
    /// Whether a dot stands before it: a field or a method.
    pub(crate) member: bool,
}

/// What one file names.
#[derive(Debug, Default)]
pub(crate) struct Named {
    /// All paths, in the order in which they stand.
    pub(crate) paths: Vec<Path>,
    /// Modules that are declared for tests only and have a file of their own: `#[cfg(test)] mod tests;`.
    pub(crate) test_files: Vec<String>,
    /// Whether the whole file is for tests: `#![cfg(test)]`.
    pub(crate) all_test: bool,
}

/// Reads all paths of a file.
pub(crate) fn named(tokens: &[Token]) -> Named {
    let tests = test_ranges(tokens);
    let mut named = Named { all_test: tests.whole, ..Named::default() };
    let mut modules: Vec<(String, usize)> = Vec::new();
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let test = tests.whole || tests.ranges.iter().any(|&(from, to)| (from..to).contains(&at));
        match &token.kind {
            Kind::Mark('{') => depth += 1,
            Kind::Mark('}') => {
                depth = depth.saturating_sub(1);
                modules.retain(|&(_, opened)| opened <= depth);
            }
            Kind::Word(word) => {
                let name = tokens.get(at + 1).and_then(Token::word);
                if let ("mod", Some(name)) = (word.as_str(), name) {
                    match tokens.get(at + 2) {
                        Some(next) if next.is('{') => modules.push((name.to_owned(), depth + 1)),
                        Some(next) if next.is(';') && test => named.test_files.push(name.to_owned()),
                        _ => {}
                    }
                    at += 2;
                    continue;
                }
                let (mut found, next) = read(tokens, at, &[]);
                for path in &mut found {
                    path.inside = modules.iter().map(|(name, _)| name.clone()).collect();
                    path.test = test;
                    path.call = tokens.get(next).is_some_and(|token| token.is('('));
                    path.bang = tokens.get(next).is_some_and(|token| token.is('!'));
                    path.visibility = is_visibility(tokens, at);
                    path.member = at.checked_sub(1).is_some_and(|before| tokens[before].is('.'));
                }
                named.paths.append(&mut found);
                at = next;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    named
}

/// Reads the tree of paths that begins with the word at `at`; gives them and where it ends.
fn read(tokens: &[Token], mut at: usize, prefix: &[String]) -> (Vec<Path>, usize) {
    let mut segments = prefix.to_vec();
    let mut line = tokens.get(at).map_or(0, |token| token.line);
    loop {
        match tokens.get(at).map(|token| &token.kind) {
            Some(Kind::Word(word)) => {
                // `a::{self}` names `a`.
                if word != "self" || segments.is_empty() {
                    segments.push(word.clone());
                }
            }
            Some(Kind::Mark('*')) => segments.push("*".to_owned()),
            Some(Kind::Mark('{')) => return group(tokens, at + 1, &segments),
            _ => break,
        }
        line = tokens[at].line;
        at += 1;
        if tokens.get(at).map(|token| &token.kind) != Some(&Kind::Colons) {
            break;
        }
        at += 1;
    }
    let path = Path {
        segments,
        line,
        inside: Vec::new(),
        test: false,
        bang: false,
        call: false,
        visibility: false,
        member: false,
    };
    (vec![path], at)
}

/// Reads `a, b::{c, d}, e as f }`.
fn group(tokens: &[Token], mut at: usize, prefix: &[String]) -> (Vec<Path>, usize) {
    let mut paths = Vec::new();
    while let Some(token) = tokens.get(at) {
        match &token.kind {
            Kind::Mark('}') => return (paths, at + 1),
            // `as name`: the name is no path.
            Kind::Word(word) if word == "as" => at += 2,
            Kind::Word(_) | Kind::Mark('*' | '{') => {
                let (mut found, next) = read(tokens, at, prefix);
                paths.append(&mut found);
                at = next.max(at + 1);
            }
            _ => at += 1,
        }
    }
    (paths, at)
}

fn is_visibility(tokens: &[Token], at: usize) -> bool {
    let before = |n: usize| at.checked_sub(n).and_then(|i| tokens.get(i));
    let word = |n: usize| before(n).and_then(Token::word);
    word(1) == Some("in") && before(2).is_some_and(|token| token.is('('))
        || before(1).is_some_and(|token| token.is('(')) && word(2) == Some("pub")
}

struct Tests {
    ranges: Vec<(usize, usize)>,
    whole: bool,
}

/// Token ranges that are compiled for tests only: what follows `#[cfg(test)]`.
fn test_ranges(tokens: &[Token]) -> Tests {
    let mut tests = Tests { ranges: Vec::new(), whole: false };
    let mut at = 0;
    while at < tokens.len() {
        let Some((inner, end)) = attribute(tokens, at) else {
            at += 1;
            continue;
        };
        let words: Vec<&str> = tokens[at..end].iter().filter_map(Token::word).collect();
        let is_test = words == ["test"]
            || words.first() == Some(&"cfg")
                && words.contains(&"test")
                && !words.contains(&"not")
                && !words.contains(&"any");
        at = end;
        if is_test && inner {
            tests.whole = true;
        } else if is_test {
            let to = item_end(tokens, at);
            tests.ranges.push((at, to));
            at = to;
        }
    }
    tests
}

/// If an attribute begins at `at`: whether it is an inner one, and where it ends.
fn attribute(tokens: &[Token], at: usize) -> Option<(bool, usize)> {
    if !tokens.get(at)?.is('#') {
        return None;
    }
    let inner = tokens.get(at + 1)?.is('!');
    let open = at + 1 + usize::from(inner);
    if !tokens.get(open)?.is('[') {
        return None;
    }
    let mut depth = 0_usize;
    for (i, token) in tokens.iter().enumerate().skip(open) {
        match token.kind {
            Kind::Mark('[') => depth += 1,
            Kind::Mark(']') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some((inner, i + 1));
        }
    }
    None
}

/// Where the item that begins at `at` ends: after its block or its semicolon.
fn item_end(tokens: &[Token], mut at: usize) -> usize {
    while let Some((_, end)) = attribute(tokens, at) {
        at = end;
    }
    // A semicolon inside brackets, such as in `[u8; 4]`, ends nothing.
    let (mut braces, mut brackets) = (0_usize, 0_usize);
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token.kind {
            Kind::Mark('(' | '[') => brackets += 1,
            Kind::Mark(')' | ']') => brackets = brackets.saturating_sub(1),
            Kind::Mark('{') => braces += 1,
            Kind::Mark('}') => {
                braces = braces.saturating_sub(1);
                if braces == 0 {
                    return at;
                }
            }
            Kind::Mark(';') if braces == 0 && brackets == 0 => return at,
            _ => {}
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lex::tokens;

    fn paths(text: &str) -> Vec<String> {
        named(&tokens(text)).paths.iter().map(|path| path.segments.join("::")).collect()
    }

    #[test]
    fn groups_come_apart() {
        assert_eq!(
            paths("use crate::{a::{self, b}, c::*, d as e};"),
            ["use", "crate::a", "crate::a::b", "crate::c::*", "crate::d"]
        );
        assert_eq!(paths("let x = crate::a::b::<T>(y);"), ["let", "x", "crate::a::b", "T", "y"]);
    }

    #[test]
    fn test_code_is_known() {
        let text = "fn a() { one } #[cfg(test)] mod tests { use super::*; fn b() { two } } fn c() { three }
            #[cfg(test)] mod far; #[cfg(all(test, unix))] use x::{y}; #[cfg(not(test))] fn d(a: [u8; 4]) { four }
            #[test] fn e(a: [u8; 4]) { five }";
        let named = named(&tokens(text));
        let is_test = |word: &str| named.paths.iter().find(|path| path.segments.last().unwrap() == word).unwrap().test;
        assert_eq!(["one", "two", "three", "y", "four", "five"].map(is_test), [false, true, false, true, false, true]);
        assert_eq!(named.test_files, ["far"]);
        let up = named.paths.iter().find(|path| path.segments[0] == "super").unwrap();
        assert_eq!(up.inside, ["tests"]);
    }

    #[test]
    fn visibility_is_no_import() {
        let named = named(&tokens("pub(in crate::x) fn a() {} pub(super) fn b() {} fn c(x: crate::y) {}"));
        let seen = |first: &str| -> Vec<bool> {
            named.paths.iter().filter(|path| path.segments[0] == first).map(|path| path.visibility).collect()
        };
        assert_eq!(seen("crate"), [true, false]);
        assert_eq!(seen("super"), [true]);
    }
}
