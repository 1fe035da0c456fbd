//! Values of steps: JSON that reads back as it was.

use serde_json::Value;
use tidegate::Secret;
use tidegate::pipeline::{MAX_VALUE_BYTES, check_value};
use tidegate::secret::Masker;

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        r#"{"version": "1.4.2", "command": ["server", "--port", "80"], "size": 9007199254740991}"#,
        r#"[0.1, 1e300, -0.0, 5e-324, 1.7976931348623157e308, "\ud83d\ude00", null, true, {"a/b~c": []}]"#,
        "0.30000000000000004",
        r#""hunter2""#,
        "1.1234567890123457",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

pub(crate) fn read(bytes: &[u8]) -> bool {
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return false };
    let checked = check_value(&value);
    if checked.is_ok() {
        let written = value.to_string();
        assert!(written.len() <= MAX_VALUE_BYTES);
        // To the last bit: the next step, in this program or after a crash, gets what this one gave.
        let again: Value = serde_json::from_str(&written).expect("what was written can be read");
        assert_eq!(again, value, "{written}");
        assert_eq!(again.to_string(), written);
    }
    let secret = Secret::new("hunter2").expect("a secret");
    let masker = Masker::new([&secret]).expect("one secret");
    assert!(!masker.mask_json(&value).to_string().contains("hunter2"));
    checked.is_ok()
}
