//! Finds numbers that JSON has no word for. `serde_json` writes them as `null`, which would be another value.

use serde::ser::{self, Serialize};

/// Checks that a value holds no NaN and no infinity, wherever it is.
///
/// # Errors
/// One sentence with the JSON pointer of the first such number; or what the value's own `Serialize` says.
pub(crate) fn check_finite<T: Serialize + ?Sized>(value: &T) -> Result<(), String> {
    value.serialize(&mut Walk { path: String::new() }).map_err(|found| found.0)
}

/// Why the walk ended.
#[derive(Debug)]
struct Found(String);

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Found {}

impl ser::Error for Found {
    fn custom<T: std::fmt::Display>(message: T) -> Found {
        Found(message.to_string())
    }
}

/// Goes through a value and writes nothing.
struct Walk {
    path: String,
}

impl Walk {
    fn finite(&self, number: f64) -> Result<(), Found> {
        if number.is_finite() {
            return Ok(());
        }
        let at = if self.path.is_empty() { "the value itself".to_owned() } else { self.path.clone() };
        Err(Found(format!("the number is not finite: {number} (at: {at})")))
    }

    fn enter<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), Found> {
        let length = self.path.len();
        self.path.push('/');
        // RFC 6901.
        self.path.push_str(&crate::error::pointer_part(name));
        value.serialize(&mut *self)?;
        self.path.truncate(length);
        Ok(())
    }

    fn open(&mut self, variant: Option<&str>) -> Inside<'_> {
        let outer = self.path.len();
        if let Some(variant) = variant {
            self.path.push('/');
            self.path.push_str(variant);
        }
        Inside { walk: self, outer, index: 0, key: String::new() }
    }
}

/// A sequence, map, struct or variant with fields.
struct Inside<'a> {
    walk: &'a mut Walk,
    outer: usize,
    index: usize,
    key: String,
}

impl Inside<'_> {
    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Found> {
        let index = self.index.to_string();
        self.index += 1;
        self.walk.enter(&index, value)
    }

    fn close(self) -> Result<(), Found> {
        self.walk.path.truncate(self.outer);
        Ok(())
    }
}

macro_rules! plain {
    ($($name:ident: $type:ty),+ $(,)?) => {
        $(fn $name(self, _: $type) -> Result<(), Found> {
            Ok(())
        })+
    };
}

impl<'a> ser::Serializer for &'a mut Walk {
    type Ok = ();
    type Error = Found;
    type SerializeSeq = Inside<'a>;
    type SerializeTuple = Inside<'a>;
    type SerializeTupleStruct = Inside<'a>;
    type SerializeTupleVariant = Inside<'a>;
    type SerializeMap = Inside<'a>;
    type SerializeStruct = Inside<'a>;
    type SerializeStructVariant = Inside<'a>;

    plain!(
        serialize_bool: bool,
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
        serialize_i128: i128,
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
        serialize_u128: u128,
        serialize_char: char,
        serialize_str: &str,
        serialize_bytes: &[u8],
        serialize_unit_struct: &'static str,
    );

    fn serialize_f32(self, number: f32) -> Result<(), Found> {
        self.finite(f64::from(number))
    }

    fn serialize_f64(self, number: f64) -> Result<(), Found> {
        self.finite(number)
    }

    fn serialize_none(self) -> Result<(), Found> {
        Ok(())
    }

    fn serialize_unit(self) -> Result<(), Found> {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Found> {
        value.serialize(self)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<(), Found> {
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Found> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Found> {
        self.enter(variant, value)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Inside<'a>, Found> {
        Ok(self.open(None))
    }

    fn serialize_tuple(self, _: usize) -> Result<Inside<'a>, Found> {
        Ok(self.open(None))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Inside<'a>, Found> {
        Ok(self.open(None))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Inside<'a>, Found> {
        Ok(self.open(Some(variant)))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Inside<'a>, Found> {
        Ok(self.open(None))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Inside<'a>, Found> {
        Ok(self.open(None))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Inside<'a>, Found> {
        Ok(self.open(Some(variant)))
    }
}

macro_rules! items {
    ($($trait:ident $method:ident),+ $(,)?) => {
        $(impl ser::$trait for Inside<'_> {
            type Ok = ();
            type Error = Found;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Found> {
                self.item(value)
            }

            fn end(self) -> Result<(), Found> {
                self.close()
            }
        })+
    };
}

items!(
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field,
);

macro_rules! fields {
    ($($trait:ident),+) => {
        $(impl ser::$trait for Inside<'_> {
            type Ok = ();
            type Error = Found;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Found> {
                self.walk.enter(name, value)
            }

            fn end(self) -> Result<(), Found> {
                self.close()
            }
        })+
    };
}

fields!(SerializeStruct, SerializeStructVariant);

impl ser::SerializeMap for Inside<'_> {
    type Ok = ();
    type Error = Found;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Found> {
        // A key that can't be one is for the real writer to refuse.
        self.key = match serde_json::to_value(key) {
            Ok(serde_json::Value::String(text)) => text,
            Ok(other) => other.to_string(),
            Err(_) => String::new(),
        };
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Found> {
        let key = std::mem::take(&mut self.key);
        self.walk.enter(&key, value)
    }

    fn end(self) -> Result<(), Found> {
        self.close()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Serialize;

    use super::check_finite;

    #[derive(Serialize)]
    enum Shape {
        Point,
        Wrapped(f64),
        Pair(u8, f64),
        Named { deep: Vec<BTreeMap<String, f32>> },
    }

    #[derive(Serialize)]
    struct Report {
        rate: Option<f64>,
        shapes: Vec<Shape>,
    }

    fn report(rate: f64, shape: Shape) -> Report {
        Report { rate: Some(rate), shapes: vec![Shape::Point, shape] }
    }

    #[test]
    fn says_where_the_number_is() {
        let map = BTreeMap::from([("a/b".to_owned(), f32::NEG_INFINITY)]);
        for (value, at) in [
            (report(f64::NAN, Shape::Point), "the number is not finite: NaN (at: /rate)"),
            (report(0.0, Shape::Wrapped(f64::INFINITY)), "the number is not finite: inf (at: /shapes/1/Wrapped)"),
            (report(0.0, Shape::Pair(1, f64::NAN)), "the number is not finite: NaN (at: /shapes/1/Pair/1)"),
            (
                report(0.0, Shape::Named { deep: vec![BTreeMap::new(), map] }),
                "the number is not finite: -inf (at: /shapes/1/Named/deep/1/a~1b)",
            ),
        ] {
            assert_eq!(check_finite(&value).unwrap_err(), at);
        }
        assert!(check_finite(&f64::NAN).unwrap_err().contains("the value itself"));
    }

    #[test]
    fn lets_all_else_pass() {
        let deep = vec![BTreeMap::from([("a".to_owned(), f32::MAX)])];
        check_finite(&report(f64::MIN_POSITIVE, Shape::Named { deep })).unwrap();
        check_finite(&("x", 1_u64, 'c', None::<f64>, (), u128::MAX, [(1, 2.5)])).unwrap();
        check_finite(&BTreeMap::from([(1, "one")])).unwrap();
    }
}
