//! What is masked and what is not.

use proptest::prelude::*;

use super::forms::base64_core;
use super::value::MAX_BYTES;
use super::*;
use crate::error::Kind;

fn masker(secrets: &[&str]) -> Masker {
    let secrets: Vec<Secret> = secrets.iter().map(|text| Secret::new(*text).unwrap()).collect();
    Masker::new(&secrets).unwrap()
}

#[test]
fn is_never_shown() {
    let secret = Secret::new("hunter22\n").unwrap();
    assert_eq!(format!("{secret} {secret:?}"), "*** Secret(***)");
    assert_eq!(secret.expose(), "hunter22");
    assert_eq!(format!("{:?}", masker(&["hunter22"])).matches("hunter").count(), 0);
    let error = Secret::new("abc").unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(!error.to_string().contains("abc"));
    assert!(Secret::new("x".repeat(MAX_BYTES + 1)).is_err());
}

#[test]
fn masks_every_form() {
    let text = "p/ss w\"rd+ü\\";
    let masker = masker(&[text]);
    // From `printf`, `base64`, Python's `urllib.parse.quote`, `quote_plus` and `json.dumps`.
    for form in [
        text,
        "cC9zcyB3InJkK8O8XA",
        "p%2Fss%20w%22rd%2B%C3%BC%5C",
        "p%2fss%20w%22rd%2b%c3%bc%5c",
        "p%2Fss+w%22rd%2B%C3%BC%5C",
        "p/ss w\\\"rd+ü\\\\",
        "p/ss w\\\"rd+\\u00fc\\\\",
    ] {
        let masked = masker.mask(&format!("<{form}>"));
        let inside = masked.trim_start_matches('<').trim_end_matches('>');
        assert!(inside == "***" || inside == "***A" || inside == "***XA", "{form} gives {masked}");
    }
    assert_eq!(masker.mask("nothing to hide"), "nothing to hide");
    let value = serde_json::json!({"a": [text, 1], "b": null});
    assert_eq!(masker.mask_json(&value), serde_json::json!({"a": ["***", 1], "b": null}));
}

#[test]
fn masks_every_line_of_a_secret() {
    let masker = masker(&["-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0B\n-----END KEY-----"]);
    assert_eq!(masker.mask("x MIIEvQIBADANBg y\r\nkqhkiG9w0B"), "x *** y\r\n***");
}

#[test]
fn hides_secrets_that_overlap_or_begin_alike() {
    assert_eq!(masker(&["abcdef", "defghi"]).mask("-abcdefghi-"), "-***-");
    assert_eq!(masker(&["token", "token-long"]).mask("token-long token-lo token"), "*** ***-lo ***");
    assert_eq!(masker(&["aaaa"]).mask("aaaaaaaaa b aaa"), "*** b aaa");
}

#[test]
fn holds_back_only_what_could_be_a_secret() {
    let masker = masker(&["secret-one"]);
    let mut stream = masker.stream();
    assert_eq!(stream.feed(b"a line\n"), b"a line\n");
    assert_eq!(stream.feed(b"sec"), b"");
    assert_eq!(stream.feed(b"ond\n"), b"second\n");
    assert_eq!(stream.feed(b"secret-"), b"");
    assert_eq!(stream.feed(b"one"), b"***");
    assert_eq!(stream.feed(b" secret-on"), b" ");
    assert_eq!(stream.finish(), b"secret-on");
}

proptest! {
    /// However a text is cut into chunks, it is masked as in one piece, and no secret is left in it.
    #[test]
    fn chunks_make_no_difference(
        parts in prop::collection::vec(prop_oneof!["[ab]{0,3}", Just("abba-abba".to_owned()), Just("bbab".to_owned())], 0..8),
        cuts in prop::collection::vec(1..7_usize, 0..40),
    ) {
        let masker = masker(&["abba-abba", "bbab"]);
        let text = parts.concat();
        let mut stream = masker.stream();
        let (mut masked, mut rest, mut most) = (Vec::new(), text.as_bytes(), 0);
        for cut in cuts {
            let (chunk, after) = rest.split_at(cut.min(rest.len()));
            masked.extend(stream.feed(chunk));
            most = most.max(stream.held.len());
            rest = after;
        }
        masked.extend(stream.feed(rest));
        masked.extend(stream.finish());
        let masked = String::from_utf8(masked).unwrap();
        prop_assert_eq!(&masked, &masker.mask(&text));
        prop_assert!(!masked.contains("abba-abba") && !masked.contains("bbab"), "{}", masked);
        prop_assert!(most <= masker.patterns.iter().map(Vec::len).max().unwrap_or(0));
    }

    /// Base64 of anything that holds the secret shows at most the two characters at its edges.
    #[test]
    fn base64_is_found_at_every_alignment(before in "[a-z]{0,5}", after in "[a-z]{0,5}") {
        let secret = "S3cr3t!S3cr3t!";
        let encoded = base64_core(format!("{before}{secret}{after}").as_bytes(), 0);
        let masked = masker(&[secret]).mask(std::str::from_utf8(&encoded).unwrap());
        prop_assert!(masked.contains("***"));
        let left = masked.replace("***", "").len();
        prop_assert!(left <= (before.len() * 8).div_ceil(6) + (after.len() * 8).div_ceil(6) + 1, "{}", masked);
    }
}
