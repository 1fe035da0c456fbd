//! Rust text to tokens: comments gone, strings and characters blind, lines kept.

/// What a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A word: an identifier or a keyword.
    Word(String),
    /// `::`.
    Colons,
    /// One character of punctuation.
    Mark(char),
    /// A string, a character, a number or a lifetime; what it says is not code.
    Literal,
}

/// A token and the line it begins on, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) line: usize,
}

impl Token {
    /// The word, if it is one.
    pub(crate) fn word(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(word) => Some(word),
            _ => None,
        }
    }

    /// Whether it is this mark.
    pub(crate) fn is(&self, mark: char) -> bool {
        self.kind == Kind::Mark(mark)
    }
}

/// All tokens of a Rust file. Text that is not Rust gives some tokens and never a panic.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { chars: text.chars().collect(), at: 0, line: 1 };
    let mut tokens = Vec::new();
    while let Some(c) = lexer.peek(0) {
        let line = lexer.line;
        let kind = match c {
            c if c.is_whitespace() => {
                lexer.bump();
                continue;
            }
            '/' if lexer.peek(1) == Some('/') => {
                lexer.skip_while(|c| c != '\n');
                continue;
            }
            '/' if lexer.peek(1) == Some('*') => {
                lexer.block_comment();
                continue;
            }
            '"' => lexer.string(),
            '\'' => lexer.quote(),
            c if c.is_ascii_digit() => lexer.number(),
            c if c == '_' || c.is_alphabetic() => lexer.word(),
            ':' if lexer.peek(1) == Some(':') => {
                lexer.bump();
                lexer.bump();
                Kind::Colons
            }
            c => {
                lexer.bump();
                Kind::Mark(c)
            }
        };
        tokens.push(Token { kind, line });
    }
    tokens
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: usize,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek(0)?;
        self.at += 1;
        self.line += usize::from(c == '\n');
        Some(c)
    }

    fn skip_while(&mut self, wanted: impl Fn(char) -> bool) {
        while self.peek(0).is_some_and(&wanted) {
            self.bump();
        }
    }

    /// Block comments nest.
    fn block_comment(&mut self) {
        let mut depth = 0_usize;
        while let Some(c) = self.bump() {
            match (c, self.peek(0)) {
                ('/', Some('*')) => depth += 1,
                ('*', Some('/')) => depth -= 1,
                _ => continue,
            }
            self.bump();
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) -> Kind {
        self.bump();
        while let Some(c) = self.bump() {
            match c {
                '\\' => drop(self.bump()),
                '"' => break,
                _ => {}
            }
        }
        Kind::Literal
    }

    /// After the `r`: `##"…"##`.
    fn raw_string(&mut self) -> Kind {
        let mut hashes = 0;
        while self.peek(0) == Some('#') {
            self.bump();
            hashes += 1;
        }
        self.bump();
        while let Some(c) = self.bump() {
            if c == '"' && (0..hashes).all(|i| self.peek(i) == Some('#')) {
                self.at += hashes;
                break;
            }
        }
        Kind::Literal
    }

    /// A character or a lifetime.
    fn quote(&mut self) -> Kind {
        self.bump();
        if self.peek(0) == Some('\\') {
            self.bump();
            self.bump();
            self.skip_while(|c| c != '\'' && c != '\n');
            self.bump();
        } else if self.peek(1) == Some('\'') {
            self.bump();
            self.bump();
        } else {
            self.skip_while(|c| c == '_' || c.is_alphanumeric());
        }
        Kind::Literal
    }

    fn number(&mut self) -> Kind {
        self.skip_while(|c| c == '_' || c.is_alphanumeric());
        // `1.5` goes on, `1..5` and `1.max(2)` don't.
        if self.peek(0) == Some('.') && self.peek(1).is_some_and(|c| c.is_ascii_digit()) {
            self.bump();
            self.skip_while(|c| c == '_' || c.is_alphanumeric());
        }
        Kind::Literal
    }

    fn word(&mut self) -> Kind {
        let start = self.at;
        self.skip_while(|c| c == '_' || c.is_alphanumeric());
        let word: String = self.chars[start..self.at].iter().collect();
        match (word.as_str(), self.peek(0)) {
            ("r" | "br" | "cr", Some('"')) => self.raw_string(),
            ("r" | "br" | "cr", Some('#')) => match self.peek(1) {
                Some('"' | '#') => self.raw_string(),
                // A raw identifier: `r#type`.
                _ => {
                    self.bump();
                    self.word()
                }
            },
            ("b" | "c", Some('"')) => self.string(),
            ("b", Some('\'')) => self.quote(),
            _ => Kind::Word(word),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<(String, usize)> {
        tokens(text).iter().filter_map(|token| Some((token.word()?.to_owned(), token.line))).collect()
    }

    #[test]
    fn comments_and_strings_are_blind() {
        let text =
            "// tokio\n/* a /* tokio */ b */ x \"tokio \\\" tokio\" r#\"tokio \" tokio\"# b\"tokio\" y\n'\"' 'a 'z' z";
        let expected = [("x", 2), ("y", 2), ("z", 3)].map(|(word, line)| (word.to_owned(), line));
        assert_eq!(words(text), expected);
    }

    #[test]
    fn a_quote_in_a_character_opens_no_string() {
        assert_eq!(words(r#"'"' a '\'' b '\u{1F600}' c b'"' d"#).len(), 4);
    }

    #[test]
    fn numbers_end_before_a_method() {
        let marks = tokens("1.5.ln() 1.max(2) 0..n").iter().filter(|token| token.is('.')).count();
        assert_eq!(marks, 4);
        assert_eq!(words("1.5.ln() 0x1f.max(2)").len(), 2);
    }

    #[test]
    fn text_cut_off_anywhere_gives_no_panic() {
        let text = "fn a<'b>() { r##\"x\"## ; '\\n'; \"\\\"\"; /* /* */ */ 1.5 }";
        for end in 0..text.len() {
            tokens(&text[..end]);
        }
    }
}
