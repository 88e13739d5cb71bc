//! The whitepaper as its tables: each behind a comment that names it.

/// The text.
pub(crate) struct Paper(String);

impl Paper {
    /// The one of this crate.
    pub(crate) fn of_this_crate() -> Self {
        Paper(include_str!("../../src/whitepaper.md").to_owned())
    }

    /// Another text.
    #[allow(dead_code, reason = "the fleet's tests read this crate's alone")]
    pub(crate) fn of(text: &str) -> Self {
        Paper(text.to_owned())
    }

    /// What the tables are called.
    #[allow(dead_code, reason = "as above")]
    pub(crate) fn names(&self) -> Vec<&str> {
        let comments = self.0.lines().filter_map(|line| line.strip_prefix("<!-- ")?.strip_suffix(" -->"));
        comments.collect()
    }

    /// What stands behind the comment, up to the next empty line.
    fn behind(&self, name: &str) -> Result<Vec<&str>, String> {
        let comment = format!("<!-- {name} -->");
        let mut lines = self.0.lines().skip_while(|line| *line != comment);
        lines.next().ok_or_else(|| format!("there is no {name}"))?;
        Ok(lines.take_while(|line| !line.is_empty()).collect())
    }

    /// The rows of a table, without its head.
    pub(crate) fn rows(&self, name: &str) -> Result<Vec<Vec<&str>>, String> {
        fn cells(line: &str) -> Option<Vec<&str>> {
            let inner = line.strip_prefix("| ")?.strip_suffix(" |")?;
            Some(inner.split(" | ").map(str::trim).collect())
        }
        let row = |line| cells(line).ok_or_else(|| format!("{name}: {line}"));
        self.behind(name)?.into_iter().skip(2).map(row).collect()
    }

    /// A block of code.
    #[allow(dead_code, reason = "as above")]
    pub(crate) fn code(&self, name: &str) -> Result<String, String> {
        let lines = self.behind(name)?;
        let inner = lines.strip_prefix(&["```text"]).and_then(|lines| lines.strip_suffix(&["```"]));
        inner
            .map(|lines| lines.iter().map(|line| format!("{line}\n")).collect())
            .ok_or_else(|| format!("{name}: no code"))
    }

    /// Holds a table of bytes against what was written: each of its fields, by name and length and in order, and all of them
    /// together.
    pub(crate) fn holds(&self, table: &str, fields: &[(&str, &[u8])], written: &[u8]) -> Result<(), String> {
        let name = format!("bytes: {table}");
        let (rows, mut fields, mut at) = (self.rows(&name)?, fields.iter(), 0);
        for row in rows {
            let [length, told] = row[..] else { return Err(format!("{name}: a row of {} cells", row.len())) };
            let (field, bytes) = fields.next().ok_or_else(|| format!("{name}: there is no {told}"))?;
            if told != *field && !told.strip_prefix(field).is_some_and(|rest| rest.starts_with([',', ':'])) {
                return Err(format!("{name}: {told} stands where {field} is"));
            }
            if length.parse().map_or(length.len() != 1, |length: usize| length != bytes.len()) {
                return Err(format!("{name}: {field} has {} bytes, not {length}", bytes.len()));
            }
            if written.get(at..at + bytes.len()) != Some(*bytes) {
                return Err(format!("{name}: at byte {at} there is no {field}"));
            }
            at += bytes.len();
            let up_to = told.split_once("up to ").and_then(|(_, rest)| rest.strip_suffix(" bytes in all"));
            if up_to.is_some_and(|up_to| up_to.parse() != Ok(at)) {
                return Err(format!("{name}: {at} bytes up to there, where it says {told}"));
            }
        }
        match fields.next() {
            Some((field, _)) => Err(format!("{name}: {field} is missing")),
            None if at != written.len() => Err(format!("{name}: {at} bytes of {}", written.len())),
            None => Ok(()),
        }
    }
}
