//! Rust source as far as the checks read it: without comments, quotes and tests.

/// What follows each `crate::`, with its line; every name of a group counts.
pub(crate) fn crate_paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_') {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => found.extend(words(rest).next().map(|name| (line, name.to_owned()))),
            Some(group) => {
                let mut depth = 0;
                let mut first = true;
                for (index, letter) in group.char_indices() {
                    match letter {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => first = true,
                        _ if first && depth == 0 && letter.is_alphabetic() => {
                            found.extend(words(&group[index..]).next().map(|name| (line, name.to_owned())));
                            first = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    found
}

pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').filter(|word| !word.is_empty())
}

/// Rust source without comments and without what is inside quotes; lines stay where they are.
pub(crate) fn code(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let raw =
            raw_string(rest).filter(|_| !kept.ends_with(|before: char| before.is_alphanumeric() || before == '_'));
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = raw {
            length
        } else if letter == '"' {
            quoted(rest, '"')
        } else if letter == '\'' && is_char(rest) {
            quoted(rest, '\'')
        } else {
            kept.push(letter);
            rest = &rest[letter.len_utf8()..];
            continue;
        };
        kept.push(' ');
        kept.extend(rest[..skipped].matches('\n'));
        rest = &rest[skipped..];
    }
    kept
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// Length of the raw string that `text` begins with, if it does.
fn raw_string(text: &str) -> Option<usize> {
    let start = text.strip_prefix('b').unwrap_or(text).strip_prefix('r')?;
    let body = start.trim_start_matches('#');
    let end = format!("\"{}", "#".repeat(start.len() - body.len()));
    let inside = body.strip_prefix('"')?;
    let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
    Some(text.len() - inside.len() + length)
}

/// Length of what stands in quotes, quotes included.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if letter == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Whether a quote begins a character and not a lifetime.
fn is_char(text: &str) -> bool {
    let mut letters = text.chars().skip(1);
    matches!((letters.next(), letters.next()), (Some('\\'), _) | (Some(_), Some('\'')))
}

/// [`code`] without the items that are compiled for tests only.
pub(crate) fn product_code(text: &str) -> String {
    let mut code = code(text);
    while let Some(start) = ["#[cfg(test)]", "#[cfg(all(test"].iter().filter_map(|mark| code.find(mark)).min() {
        let rest = &code[start..];
        let mut depth = 0;
        let length = rest.char_indices().find_map(|(at, letter)| {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            (depth == 0 && matches!(letter, '}' | ';')).then_some(at + 1)
        });
        let end = start + length.unwrap_or(rest.len());
        let lines = "\n".repeat(code[start..end].matches('\n').count());
        code.replace_range(start..end, &lines);
    }
    code
}

#[test]
fn comments_quotes_and_tests_are_not_code() {
    let text = "a // b\n/* c /* d */ e */ f \"g \\\" h\" 'i' '\\'' 'j r#\"k \" l\"# m b\"n\" br\"o\"";
    assert_eq!(words(&code(text)).collect::<Vec<_>>(), ["a", "f", "j", "m", "b"]);
    assert_eq!(code(text).lines().count(), text.lines().count());
    let text = "one\n#[cfg(test)]\nmod tests;\ntwo\n#[cfg(test)]\nmod tests {\n fn f() { g(); }\n}\nthree";
    assert_eq!(words(&product_code(text)).collect::<Vec<_>>(), ["one", "two", "three"]);
}
