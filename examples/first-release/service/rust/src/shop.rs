//! What the shop answers: no socket in sight.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

/// Names and prices in cents.
const ITEMS: [(&str, u64); 3] = [("coffee", 790), ("tea", 450), ("cocoa", 620)];

/// Percent off, by customer segment. The bug of version 3 is that the last three are missing.
const DISCOUNTS: [u64; SEGMENTS] = [5; SEGMENTS];
const SEGMENTS: usize = 100;

/// A status and a JSON body.
pub(crate) type Answer = (u16, Value);

/// One version of the shop.
#[derive(Debug)]
pub(crate) struct Shop {
    pub(crate) version: &'static str,
    /// The 3 of `v3` or `v3.1`; 0 if there is no number.
    major: u32,
    visits: AtomicU32,
}

impl Shop {
    pub(crate) fn new(version: &'static str) -> Shop {
        let digits = version.trim_start_matches('v').split(|c: char| !c.is_ascii_digit()).next();
        let major = digits.and_then(|digits| digits.parse().ok()).unwrap_or(0);
        Shop { version, major, visits: AtomicU32::new(0) }
    }

    /// Answers one request whose body is complete.
    pub(crate) fn answer(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        let path = path.split('?').next().unwrap_or_default();
        if (method, path) == ("GET", "/healthz") {
            return (200, json!({"status": "ok"}));
        }
        let (status, mut answer) = match (method, path) {
            ("GET", "/") => (200, json!({"shop": "hot drinks", "version": self.version, "items": ITEMS.len()})),
            ("GET", "/items") => {
                let items: Vec<Value> =
                    ITEMS.iter().map(|(item, price)| json!({"item": item, "price": price})).collect();
                (200, json!({"items": items}))
            }
            ("POST", "/orders") => order(body),
            (_, "/" | "/items" | "/orders" | "/healthz") => (405, json!({"error": "method not allowed"})),
            _ => (404, json!({"error": "not found"})),
        };
        if status < 300
            && let Err(error) = self.extras(&mut answer)
        {
            eprintln!("shop: {method} {path}: {error}");
            return (500, json!({"error": "internal error"}));
        }
        (status, answer)
    }

    /// What later versions add to an answer.
    fn extras(&self, answer: &mut Value) -> Result<(), String> {
        let visit = self.visits.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        if self.major >= 2 {
            answer["featured"] = json!(ITEMS[visit as usize % ITEMS.len()].0);
        }
        if self.major >= 3 {
            let known = if self.major == 3 { SEGMENTS - 3 } else { SEGMENTS };
            let segment = segment(visit);
            let discount =
                DISCOUNTS[..known].get(segment).ok_or_else(|| format!("no discount for segment {segment}"))?;
            answer["discount_percent"] = json!(discount);
        }
        Ok(())
    }
}

/// Spreads visits over the segments: Knuth's multiplicative hash, folded.
fn segment(visit: u32) -> usize {
    let hash = visit.wrapping_mul(2_654_435_761);
    (hash ^ (hash >> 16)) as usize % SEGMENTS
}

fn order(body: &[u8]) -> Answer {
    let Ok(order) = serde_json::from_slice::<Value>(body) else {
        return (400, json!({"error": "the body is not JSON"}));
    };
    let Some((item, price)) = ITEMS.iter().find(|(item, _)| order["item"] == *item) else {
        return (422, json!({"error": "no such item"}));
    };
    match order["quantity"].as_u64() {
        Some(quantity @ 1..=100) => (201, json!({"item": item, "quantity": quantity, "total": quantity * price})),
        _ => (422, json!({"error": "quantity must be a whole number from 1 to 100"})),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sells_drinks() {
        let shop = Shop::new("v1");
        assert_eq!(shop.answer("GET", "/?a=b", b""), (200, json!({"shop": "hot drinks", "version": "v1", "items": 3})));
        assert_eq!(shop.answer("GET", "/items", b"").1["items"][1], json!({"item": "tea", "price": 450}));
        let order = shop.answer("POST", "/orders", br#"{"item":"tea","quantity":2}"#);
        assert_eq!(order, (201, json!({"item": "tea", "quantity": 2, "total": 900})));
    }

    #[test]
    fn refuses_what_can_not_be() {
        let shop = Shop::new("v3");
        for (method, path, body, status) in [
            ("POST", "/orders", "tea", 400),
            ("POST", "/orders", "[]", 422),
            ("POST", "/orders", r#"{"item":"gold","quantity":1}"#, 422),
            ("POST", "/orders", r#"{"item":"tea","quantity":0}"#, 422),
            ("POST", "/orders", r#"{"item":"tea","quantity":101}"#, 422),
            ("POST", "/orders", r#"{"item":"tea","quantity":1.5}"#, 422),
            ("POST", "/orders", r#"{"item":"tea","quantity":true}"#, 422),
            ("POST", "/items", "", 405),
            ("GET", "/orders", "", 405),
            ("GET", "/gold", "", 404),
        ] {
            assert_eq!(shop.answer(method, path, body.as_bytes()).0, status, "{method} {path} {body}");
        }
    }

    #[test]
    fn versions_differ_and_only_the_third_fails() {
        for (version, featured, bad) in
            [("v1", false, 0), ("v2.0.1", true, 0), ("3", true, 300), ("v4", true, 0), ("dev", false, 0)]
        {
            let shop = Shop::new(version);
            assert_eq!(shop.answer("GET", "/", b"").1.get("featured").is_some(), featured, "{version}");
            let failed = (0..10_000).filter(|_| shop.answer("GET", "/items", b"").0 == 500).count();
            assert!(failed.abs_diff(bad) <= bad / 5, "{version}: {failed} of 10,000");
            assert!((0..200).all(|_| shop.answer("GET", "/healthz", b"").0 == 200));
        }
    }
}
