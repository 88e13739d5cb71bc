//! [`RecoveryKey`]: 64 digits on paper, the way in that needs no vault.

use std::fmt::Write;

use opaque_ke::rand::{CryptoRng, RngCore};
use qrcode::{Color, EcLevel, QrCode};
use thiserror::Error;
use zeroize::Zeroizing;

use super::Failure;
use super::random::with_os;
use crate::engine::sha512::HmacKey;
use crate::secret::Secret;

/// Rows on the sheet.
const ROWS: usize = 8;
/// Digits of a row: seven that are drawn, and one that checks them.
const ROW: usize = 8;
/// Digits of a recovery key.
const DIGITS: usize = ROWS * ROW;
const SALT: &[u8] = b"strongroom recovery key v1";

/// The operation of H. Michael Damm's check digits: a quasigroup without fixed points of order ten that finds every wrong
/// digit and every two neighbours that changed places.
const DAMM: [[u8; 10]; 10] = [
    [0, 3, 1, 7, 5, 9, 8, 6, 4, 2],
    [7, 0, 9, 2, 1, 5, 4, 8, 6, 3],
    [4, 2, 0, 6, 8, 7, 1, 3, 5, 9],
    [1, 7, 5, 0, 9, 8, 3, 4, 2, 6],
    [6, 1, 2, 3, 0, 4, 5, 9, 7, 8],
    [3, 6, 7, 4, 2, 0, 9, 5, 8, 1],
    [5, 8, 6, 9, 7, 2, 0, 1, 3, 4],
    [8, 9, 4, 5, 3, 6, 2, 0, 1, 7],
    [9, 4, 3, 8, 6, 1, 7, 2, 0, 5],
    [2, 5, 8, 1, 4, 3, 6, 7, 9, 0],
];

/// A recovery key: 56 random digits (186 bits, so nothing needs to be stretched) and a check digit in each row of eight.
/// Wiped on drop; there is no `Debug`, `Clone` or comparison.
///
/// A check begins with the row's number, so a row that was typed in another's place is found as well.
///
/// ```
/// use strongroom::client::{RecoveryKey, RecoveryKeyProblem};
/// let key = RecoveryKey::generate()?;
/// let text = key.text(); // "1234 5678\n...", eight rows, to be written down or printed
/// assert_eq!(RecoveryKey::read(&text)?.text(), text);
/// assert_eq!(RecoveryKey::read(&text[..40]).err(), Some(RecoveryKeyProblem::Length(32)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RecoveryKey(Zeroizing<[u8; DIGITS]>);

/// Why what was typed is no recovery key. It says where to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecoveryKeyProblem {
    /// So many digits.
    #[error("a recovery key has {DIGITS} digits, and here are {0}")]
    Length(usize),
    /// Something that is neither a digit, nor a space, nor a dash. Rows count from 1.
    #[error("row {0} has something in it that is no digit")]
    NoDigit(usize),
    /// The check digit of a row is wrong. Rows count from 1.
    #[error("row {0} is not as it was printed; look at it again")]
    Row(usize),
}

/// The zeros of the digits that keyboards have, besides ASCII's: Arabic-Indic, its Persian form, Devanagari, Bengali, Thai,
/// full-width.
const ZEROS: [char; 6] = ['\u{660}', '\u{6f0}', '\u{966}', '\u{9e6}', '\u{e50}', '\u{ff10}'];

fn digit(typed: char) -> Option<u8> {
    let of = |zero: char| u32::from(typed).checked_sub(u32::from(zero)).filter(|digit| *digit < 10);
    ['0'].into_iter().chain(ZEROS).find_map(of).map(|digit| digit as u8)
}

/// What the check of a row comes to: 0 where it is right.
fn check(row: usize, digits: &[u8]) -> u8 {
    digits.iter().fold(row as u8, |interim, digit| DAMM[usize::from(interim)][usize::from(*digit)])
}

impl RecoveryKey {
    /// Draws a new one.
    ///
    /// # Errors
    /// [`Failure::Randomness`].
    pub fn generate() -> Result<Self, Failure> {
        with_os(|random| Ok(Self::generate_with(random)))
    }

    /// [`RecoveryKey::generate`] with the randomness as an argument.
    pub fn generate_with(random: &mut (impl RngCore + CryptoRng)) -> Self {
        let mut key = RecoveryKey(Zeroizing::new([0; DIGITS]));
        for (number, row) in key.0.chunks_exact_mut(ROW).enumerate() {
            for place in &mut row[..ROW - 1] {
                *place = loop {
                    let mut byte = Zeroizing::new([0]);
                    random.fill_bytes(&mut *byte);
                    // 250 is the last multiple of ten that a byte reaches.
                    if byte[0] < 250 {
                        break byte[0] % 10;
                    }
                };
            }
            // The operation has no fixed points: an interim is checked by itself.
            row[ROW - 1] = check(number, &row[..ROW - 1]);
        }
        key
    }

    /// Reads what was typed or scanned. Spaces, line breaks and dashes do not count, and digits of other scripts do.
    ///
    /// # Errors
    /// [`RecoveryKeyProblem`]: what is the matter, and in which row.
    pub fn read(typed: &str) -> Result<Self, RecoveryKeyProblem> {
        let mut key = RecoveryKey(Zeroizing::new([0; DIGITS]));
        let mut count = 0;
        for typed in
            typed.chars().filter(|typed| !typed.is_whitespace() && !matches!(typed, '-' | '\u{2010}'..='\u{2015}'))
        {
            let digit = digit(typed).ok_or(RecoveryKeyProblem::NoDigit(count.min(DIGITS - 1) / ROW + 1))?;
            if let Some(place) = key.0.get_mut(count) {
                *place = digit;
            }
            count += 1;
        }
        if count != DIGITS {
            return Err(RecoveryKeyProblem::Length(count));
        }
        match key.0.chunks_exact(ROW).enumerate().find(|(number, row)| check(*number, row) != 0) {
            Some((number, _)) => Err(RecoveryKeyProblem::Row(number + 1)),
            None => Ok(key),
        }
    }

    /// The rows, as they are printed: two groups of four digits each.
    pub fn text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(DIGITS + 2 * ROWS));
        for (number, row) in self.rows().enumerate() {
            if number > 0 {
                text.push('\n');
            }
            text.push_str(&row);
        }
        text
    }

    fn rows(&self) -> impl Iterator<Item = Zeroizing<String>> {
        self.0.chunks_exact(ROW).map(|row| {
            let mut text = Zeroizing::new(String::with_capacity(ROW + 1));
            for (place, digit) in row.iter().enumerate() {
                if place == ROW / 2 {
                    text.push(' ');
                }
                text.push(char::from(b'0' + digit));
            }
            text
        })
    }

    /// A page of A4 to print, as SVG: a title, the rows, and the same digits as a QR code. Whoever sees it has the key.
    pub fn sheet(&self, title: &str) -> Zeroizing<String> {
        let mut page = Zeroizing::new(String::with_capacity(64 * 1024));
        let title = escaped(title);
        // What is written to a string is written.
        let _ = write!(
            page,
            r##"<svg xmlns="http://www.w3.org/2000/svg" width="210mm" height="297mm" viewBox="0 0 210 297">
<rect width="210" height="297" fill="#fff"/>
<g font-family="sans-serif" fill="#000">
<text x="25" y="40" font-size="9">{title}</text>
<text x="25" y="50" font-size="4.5">Whoever has these digits opens your backup.</text>
<text x="25" y="57" font-size="4.5">Keep this page where you keep your passport.</text>
</g>
<g font-family="monospace" font-size="9" fill="#000">
"##
        );
        for (number, row) in self.rows().enumerate() {
            let y = 80 + 12 * number;
            let label = number + 1;
            let _ = writeln!(page, r##"<text x="25" y="{y}" font-size="4.5" fill="#777">{label}</text>"##);
            let _ = writeln!(page, r##"<text x="35" y="{y}" xml:space="preserve">{}</text>"##, *row);
        }
        let _ = writeln!(page, "</g>\n<g transform=\"translate(120 73)\" fill=\"#000\">{}</g>\n</svg>", *self.qr());
        page
    }

    /// The QR code as a path of SVG, 65 units wide.
    fn qr(&self) -> Zeroizing<String> {
        let mut digits = Zeroizing::new([0; DIGITS]);
        for (text, digit) in digits.iter_mut().zip(self.0.iter()) {
            *text = b'0' + digit;
        }
        let mut path = Zeroizing::new(String::with_capacity(32 * 1024));
        // 64 digits fit into a QR code many times over.
        if let Ok(code) = QrCode::with_error_correction_level(&digits[..], EcLevel::Q) {
            let width = code.width();
            let _ = write!(path, r#"<path transform="scale({:.4})" d=""#, 65.0 / width as f64);
            let colors = code.to_colors();
            for (at, _) in colors.iter().enumerate().filter(|(_, color)| **color == Color::Dark) {
                let _ = write!(path, "M{} {}h1v1h-1z", at % width, at / width);
            }
            path.push_str(r#""/>"#);
        }
        path
    }

    /// What a backup key is wrapped under.
    pub(super) fn wrapping_key(&self) -> Secret<[u8; 64]> {
        let extracted = HmacKey::new(SALT).mac(&[&self.0[..]]);
        Secret::new(extracted)
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn digits(text: &str) -> Vec<char> {
        text.chars().filter(char::is_ascii_digit).collect()
    }

    fn read(digits: &[char]) -> Result<RecoveryKey, RecoveryKeyProblem> {
        RecoveryKey::read(&digits.iter().collect::<String>())
    }

    /// Damm's dissertation, and every text on it, has this one: 572 is checked by 4.
    #[test]
    fn the_operation_is_damms() {
        assert_eq!(check(0, &[5, 7, 2]), 4);
        assert_eq!(check(0, &[5, 7, 2, 4]), 0);
        for (row, operation) in DAMM.iter().enumerate() {
            assert_eq!(operation[row], 0, "no fixed points");
            let mut sorted = *operation;
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
            let mut column = DAMM.map(|operation| operation[row]);
            column.sort_unstable();
            assert_eq!(column, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        }
    }

    #[test]
    fn every_wrong_digit_and_every_two_that_changed_places_are_found_in_their_row() {
        for _ in 0..20 {
            let key = RecoveryKey::generate().unwrap();
            let right = digits(&key.text());
            assert_eq!((right.len(), key.text().lines().count()), (DIGITS, ROWS));
            for at in 0..DIGITS {
                for other in ('0'..='9').filter(|other| *other != right[at]) {
                    let mut wrong = right.clone();
                    wrong[at] = other;
                    assert_eq!(read(&wrong).err(), Some(RecoveryKeyProblem::Row(at / ROW + 1)));
                }
                let next = at + 1;
                if next < DIGITS && right[at] != right[next] {
                    let mut wrong = right.clone();
                    wrong.swap(at, next);
                    assert_eq!(read(&wrong).err(), Some(RecoveryKeyProblem::Row(at / ROW + 1)), "{at}");
                }
            }
            for (one, other) in (0..ROWS).flat_map(|one| (0..one).map(move |other| (one, other))) {
                let mut wrong = right.clone();
                for place in 0..ROW {
                    wrong.swap(one * ROW + place, other * ROW + place);
                }
                // A row checks out in one place alone, so at least the first of two is found.
                assert_eq!(read(&wrong).err(), Some(RecoveryKeyProblem::Row(other + 1)), "rows {one} and {other}");
            }
        }
    }

    #[test]
    fn it_reads_what_people_type() {
        let key = RecoveryKey::generate().unwrap();
        let text = key.text();
        let arabic = |typed: char| typed.to_digit(10).map_or(typed, |digit| char::from_u32(0x660 + digit).unwrap());
        let wide = |typed: char| typed.to_digit(10).map_or(typed, |digit| char::from_u32(0xff10 + digit).unwrap());
        for typed in [
            text.replace(['\n', ' '], ""),
            text.replace(' ', "-"),
            text.replace(' ', "\u{2013}"),
            format!("\t{}\r\n\u{a0}", text.replace('\n', "\r\n")),
            text.chars().map(arabic).collect(),
            text.chars().map(wide).collect(),
        ] {
            assert_eq!(RecoveryKey::read(&typed).unwrap().text(), text);
        }
        assert_eq!(RecoveryKey::read("").err(), Some(RecoveryKeyProblem::Length(0)));
        assert_eq!(RecoveryKey::read(&format!("{}1", *text)).err(), Some(RecoveryKeyProblem::Length(65)));
        let letter = text.replacen(char::is_whitespace, "x", 1);
        assert_eq!(RecoveryKey::read(&letter).err(), Some(RecoveryKeyProblem::NoDigit(1)));
        let after = format!("{}x", *text);
        assert_eq!(RecoveryKey::read(&after).err(), Some(RecoveryKeyProblem::NoDigit(8)));
    }

    #[test]
    fn digits_are_drawn_evenly_and_never_twice() {
        let mut seen = [0u32; 10];
        let mut keys = std::collections::BTreeSet::new();
        for _ in 0..500 {
            let key = RecoveryKey::generate().unwrap();
            for row in key.0.chunks(ROW) {
                row[..ROW - 1].iter().for_each(|digit| seen[usize::from(*digit)] += 1);
            }
            assert!(keys.insert(key.text().to_string()));
        }
        // 28,000 draws: 2,800 of each, and a deviation of 50.
        assert!(seen.iter().all(|count| (2500..3100).contains(count)), "{seen:?}");
    }

    #[test]
    fn the_sheet_has_the_rows_and_a_code_of_the_same_digits() {
        let key = RecoveryKey::generate().unwrap();
        let sheet = key.sheet("Backup of <Ada> & co");
        for row in key.text().lines() {
            assert!(sheet.contains(row));
        }
        assert!(sheet.contains("Backup of &lt;Ada&gt; &amp; co"));
        // What is wider than the page is not printed; a letter is about half as wide as it is high.
        let lines = sheet.lines().filter(|line| line.contains("font-size=\"4.5\""));
        let widths: Vec<_> = lines.map(|line| line.split(['<', '>']).map(str::len).nth(2).unwrap()).collect();
        assert!(widths.len() == 2 + ROWS && widths.iter().all(|letters| *letters < 60), "{widths:?}");
        let path = sheet.split("d=\"").nth(1).unwrap();
        // The dark modules of the same digits, made by the crate from text.
        let digits: String = digits(&key.text()).into_iter().collect();
        let code = QrCode::with_error_correction_level(&digits, EcLevel::Q).unwrap();
        let dark = code.to_colors().into_iter().filter(|color| *color == Color::Dark).count();
        assert_eq!(path.matches("h1v1h-1z").count(), dark);
    }
}
