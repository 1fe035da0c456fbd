//! What differs between the file that is there and the one that should be.

/// No more lines are shown of either side.
const MOST: usize = 30;

/// The lines between the first and the last that differ, as `-` (there) and `+` (wanted).
pub(crate) fn show(name: &str, found: &str, wanted: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (found.lines().collect(), wanted.lines().collect());
    let before = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let after = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    let after = after.min(old.len().min(new.len()) - before);
    let mut text = format!("{name}, from line {}:\n", before + 1);
    for (sign, lines) in [('-', &old[before..old.len() - after]), ('+', &new[before..new.len() - after])] {
        for line in lines.iter().take(MOST) {
            text.push_str(&format!("{sign} {line}\n"));
        }
        if lines.len() > MOST {
            text.push_str(&format!("{sign} … {} more lines\n", lines.len() - MOST));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::show;

    #[test]
    fn shows_what_lies_between_the_equal_ends() {
        assert_eq!(show("f", "a\nb\nc\n", "a\nx\ny\nc\n"), "f, from line 2:\n- b\n+ x\n+ y\n");
        assert_eq!(show("f", "a\na\n", "a\n"), "f, from line 2:\n- a\n");
        assert_eq!(show("f", "", "a\n"), "f, from line 1:\n+ a\n");
    }
}
