//! Dictionaries as Python prints them: `{'msisdn': '27711903591', 'tower_id': 12, 'roaming': None}`.

use std::iter::Peekable;
use std::str::Chars;

use serde_json::{Map, Number, Value};

/// Reads a dictionary of texts, whole numbers, fractions, `True`, `False` and `None`, one level
/// deep; `None` for anything else.
pub fn dictionary(text: &str) -> Option<Map<String, Value>> {
    let mut reader = Reader { rest: text.chars().peekable() };
    let mut dictionary = Map::new();
    reader.expect('{')?;
    while !reader.take('}') {
        let Value::String(key) = reader.value()? else { return None };
        reader.expect(':')?;
        dictionary.insert(key, reader.value()?);
        if !reader.take(',') {
            reader.expect('}')?;
            break;
        }
    }
    reader.skip_space();
    reader.rest.peek().is_none().then_some(dictionary)
}

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
}

impl Reader<'_> {
    fn skip_space(&mut self) {
        while self.rest.next_if(|sign| sign.is_ascii_whitespace()).is_some() {}
    }

    fn take(&mut self, sign: char) -> bool {
        self.skip_space();
        self.rest.next_if_eq(&sign).is_some()
    }

    fn expect(&mut self, sign: char) -> Option<()> {
        self.take(sign).then_some(())
    }

    fn value(&mut self) -> Option<Value> {
        self.skip_space();
        match self.rest.peek()? {
            '\'' | '"' => self.text().map(Value::String),
            _ => self.word(),
        }
    }

    /// A text in quotes of either kind.
    fn text(&mut self) -> Option<String> {
        let quote = self.rest.next()?;
        let mut text = String::new();
        loop {
            match self.rest.next()? {
                sign if sign == quote => return Some(text),
                '\\' => text.push(self.escaped()?),
                sign => text.push(sign),
            }
        }
    }

    fn escaped(&mut self) -> Option<char> {
        let digits = match self.rest.next()? {
            'n' => return Some('\n'),
            't' => return Some('\t'),
            'r' => return Some('\r'),
            same @ ('\\' | '\'' | '"') => return Some(same),
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => return None,
        };
        let code = (0..digits).try_fold(0_u32, |code, _| {
            code.checked_mul(16)?.checked_add(self.rest.next()?.to_digit(16)?)
        })?;
        char::from_u32(code)
    }

    /// A number, or a name for a value.
    fn word(&mut self) -> Option<Value> {
        let mut word = String::new();
        while let Some(sign) =
            self.rest.next_if(|sign| sign.is_ascii_alphanumeric() || "+-._".contains(*sign))
        {
            word.push(sign);
        }
        match word.as_str() {
            "None" => Some(Value::Null),
            "True" => Some(Value::Bool(true)),
            "False" => Some(Value::Bool(false)),
            number => number.parse::<Number>().ok().map(Value::Number),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn check(text: &str, expected: Value) {
        assert_eq!(dictionary(text).map(Value::Object), Some(expected), "{text}");
    }

    #[test]
    fn a_printed_dictionary_is_read() {
        check("{}", json!({}));
        check(" { 'a' : 1 , } ", json!({ "a": 1 }));
        check(
            r#"{'a': 'it\'s', "b": "it's", 'c': -1.5, 'd': None, 'e': True, 'f': False}"#,
            json!({ "a": "it's", "b": "it's", "c": -1.5, "d": null, "e": true, "f": false }),
        );
        check(r"{'a': 'caf\xe9 \u00fc \U0001f600 \\ \n'}", json!({ "a": "café ü 😀 \\ \n" }));
    }

    #[test]
    fn what_is_no_dictionary_is_refused() {
        for text in [
            "",
            "{",
            "}",
            "{'a'}",
            "{'a': }",
            "{'a': 1",
            "{'a': 1} x",
            "{1: 2}",
            "{'a': 1 'b': 2}",
            "{,}",
            "{'a': nan}",
            "{'a': [1]}",
            r"{'a': '\q'}",
            r"{'a': '\ud800'}",
            "{'a': 'b}",
            r"{'a': '\x1'}",
        ] {
            assert_eq!(dictionary(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
            dictionary(&text);
            dictionary(&format!("{{'a': {text}"));
        }
    }
}
