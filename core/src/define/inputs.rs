//! What a step takes: outputs of earlier steps, decoded from what the journal holds.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::define::StepRef;
use crate::pipeline::{Cause, StepError};

/// A set of steps whose outputs another step takes: `()`, a `&StepRef<T>`, a tuple of up to four of them, or a slice of
/// any number of steps with one type of output, which come as a `Vec<T>`.
///
/// The values are decoded from the stored JSON, never handed on as live objects, so that a resumed run sees the same.
pub trait Inputs {
    /// The decoded outputs.
    type Values: Send + 'static;

    /// The names of the steps, in order.
    fn names(&self) -> Vec<String>;

    /// Decodes the outputs, one for each name.
    ///
    /// # Errors
    /// When one of them isn't of the expected type; the error names the step's position and the path.
    fn decode(values: Vec<Value>) -> Result<Self::Values, StepError>;
}

impl Inputs for () {
    type Values = ();

    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    fn decode(_: Vec<Value>) -> Result<(), StepError> {
        Ok(())
    }
}

impl<T: DeserializeOwned + Send + 'static> Inputs for &StepRef<T> {
    type Values = T;

    fn names(&self) -> Vec<String> {
        vec![self.name().to_owned()]
    }

    fn decode(values: Vec<Value>) -> Result<T, StepError> {
        next(&mut values.into_iter(), 0)
    }
}

impl<T: DeserializeOwned + Send + 'static> Inputs for &[StepRef<T>] {
    type Values = Vec<T>;

    fn names(&self) -> Vec<String> {
        self.iter().map(|step| step.name().to_owned()).collect()
    }

    fn decode(values: Vec<Value>) -> Result<Vec<T>, StepError> {
        let count = values.len();
        let mut values = values.into_iter();
        (0..count).map(|position| next(&mut values, position)).collect()
    }
}

macro_rules! tuple {
    ($($t:ident $i:tt),+) => {
        impl<$($t: DeserializeOwned + Send + 'static),+> Inputs for ($(&StepRef<$t>,)+) {
            type Values = ($($t,)+);

            fn names(&self) -> Vec<String> {
                vec![$(self.$i.name().to_owned()),+]
            }

            fn decode(values: Vec<Value>) -> Result<Self::Values, StepError> {
                let mut values = values.into_iter();
                Ok(($(next::<$t>(&mut values, $i)?,)+))
            }
        }
    };
}

tuple!(A 0);
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);

fn next<T: DeserializeOwned>(values: &mut impl Iterator<Item = Value>, position: usize) -> Result<T, StepError> {
    let value = values.next().unwrap_or(Value::Null);
    serde_json::from_value(value).map_err(|error| {
        StepError::new(Cause::BadValue, format!("input {position} is not of the type that the step takes: {error}"))
    })
}
