//! A case as a file: a header that says what must happen, then the documents, each behind a line with its name.

/// A case.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// What it is about.
    pub(crate) about: String,
    /// Words of the reason for which it is refused; none if it is accepted.
    pub(crate) expect: Option<String>,
    /// What verifiers from outside say of the notes, the log's proofs, and the evidence: `accepts`, `refuses`, or `-`.
    pub(crate) outside: [String; 3],
    pub(crate) now_s: u64,
    pub(crate) pins: String,
    pub(crate) memory: Option<String>,
    /// Notes and proofs.
    pub(crate) bundles: Vec<(String, String)>,
    pub(crate) artifact: String,
    pub(crate) evidence: String,
    pub(crate) documents: Vec<String>,
}

impl Case {
    pub(crate) fn write(&self) -> String {
        let expect = match &self.expect {
            None => "accepted".to_owned(),
            Some(reason) => format!("refused: {reason}"),
        };
        let [note, log, dsse] = &self.outside;
        let mut text = format!(
            "# {}\n# {}\n# expect: {expect}\n# now: {}\n# sumdb/note: {note}\n# sumdb/tlog: {log}\n# dsse: {dsse}\n",
            self.name, self.about, self.now_s
        );
        let mut section = |name: &str, content: &str| {
            assert!(content.ends_with('\n') && !content.lines().any(|line| line.starts_with("-- ")), "{name}");
            text += &format!("-- {name}\n{content}");
        };
        section("pins", &self.pins);
        self.memory.iter().for_each(|memory| section("memory", memory));
        for (note, proof) in &self.bundles {
            section("bundle", note);
            section("tlog-proof", proof);
        }
        section("fleet-keys.json", &self.artifact);
        section("evidence.json", &self.evidence);
        self.documents.iter().for_each(|document| section("document", document));
        text
    }

    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut case = Case::default();
        let (header, body) = text.split_once("-- pins\n")?;
        let mut lines = header.lines().map(|line| line.strip_prefix("# ").unwrap_or_default());
        case.name = lines.next()?.to_owned();
        case.about = lines.next()?.to_owned();
        let expect = lines.next()?.strip_prefix("expect: ")?;
        case.expect = if expect == "accepted" { None } else { Some(expect.strip_prefix("refused: ")?.to_owned()) };
        case.now_s = lines.next()?.strip_prefix("now: ")?.parse().ok()?;
        for (place, who) in case.outside.iter_mut().zip(["sumdb/note: ", "sumdb/tlog: ", "dsse: "]) {
            *place = lines.next()?.strip_prefix(who)?.to_owned();
        }
        let (mut name, mut content) = ("pins", String::new());
        let mut sections = Vec::new();
        for line in body.split_inclusive('\n') {
            match line.strip_prefix("-- ") {
                Some(next) => {
                    sections.push((name, std::mem::take(&mut content)));
                    name = next.trim_end();
                }
                None => content += line,
            }
        }
        sections.push((name, content));
        for (name, content) in sections {
            match name {
                "pins" => case.pins = content,
                "memory" => case.memory = Some(content),
                "bundle" => case.bundles.push((content, String::new())),
                "tlog-proof" => case.bundles.last_mut()?.1 = content,
                "fleet-keys.json" => case.artifact = content,
                "evidence.json" => case.evidence = content,
                "document" => case.documents.push(content),
                _ => return None,
            }
        }
        Some(case)
    }
}
