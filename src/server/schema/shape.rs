//! The words in which the table describes a value: a JSON Schema (2020-12), built keyword by keyword.
//!
//! Owns the keywords; which value has which shape is said in `types`, `operations` and `events`.
//! Invariant: a property has a description, here or at the type that it names.
//!
//! The builders are never inlined: a table calls thousands of them, and with each call inlined the optimizer needed four
//! minutes for the tables alone.

use crate::base::json::{Object, Value};

/// Where both documents keep the types that have a name.
pub const NAMED: &str = "#/components/schemas/";

#[derive(Clone, Debug)]
pub struct Schema(Vec<(&'static str, Value<'static>)>);

/// One property of an object.
#[derive(Clone, Debug)]
pub struct Field {
    pub name: &'static str,
    pub required: bool,
    pub schema: Schema,
}

/// A property that is always there.
#[inline(never)]
pub fn must(name: &'static str, schema: Schema, says: &str) -> Field {
    Field { name, required: true, schema: schema.says(says) }
}

/// A property that may be left out.
#[inline(never)]
pub fn may(name: &'static str, schema: Schema, says: &str) -> Field {
    Field { name, required: false, schema: schema.says(says) }
}

impl Schema {
    #[inline(never)]
    fn with(mut self, keyword: &'static str, value: Value<'static>) -> Schema {
        self.0.push((keyword, value));
        self
    }

    #[inline(never)]
    pub fn says(self, text: &str) -> Schema {
        if text.is_empty() { self } else { self.with("description", string(text)) }
    }

    /// Lengths in Unicode scalar values, both included.
    #[inline(never)]
    pub fn length(self, min: usize, max: usize) -> Schema {
        self.with("minLength", number(min)).with("maxLength", number(max))
    }

    #[inline(never)]
    pub fn format(self, name: &str) -> Schema {
        self.with("format", string(name))
    }

    #[inline(never)]
    pub fn pattern(self, pattern: &str) -> Schema {
        self.with("pattern", string(pattern))
    }

    #[inline(never)]
    pub fn at_least(self, min: usize) -> Schema {
        self.with("minimum", number(min))
    }

    #[inline(never)]
    pub fn at_most(self, max: u64) -> Schema {
        self.with("maximum", Value::Int(max as i64))
    }

    /// Of a list.
    #[inline(never)]
    pub fn items_max(self, max: usize) -> Schema {
        self.with("maxItems", number(max))
    }

    #[inline(never)]
    pub fn or_else(self, value: Value<'static>) -> Schema {
        self.with("default", value)
    }

    /// With these properties and required names.
    #[inline(never)]
    pub fn joined(self, properties: Value<'static>, required: Vec<Value<'static>>) -> Schema {
        self.with("properties", properties).with("required", Value::List(required))
    }

    pub fn keyword(&self, name: &str) -> Option<&Value<'static>> {
        self.0.iter().find(|(keyword, _)| *keyword == name).map(|(_, value)| value)
    }

    pub fn value(&self) -> Value<'static> {
        record(self.0.iter().map(|(keyword, value)| (*keyword, value.clone())))
    }
}

#[inline(never)]
fn kind(name: &str) -> Schema {
    Schema(Vec::new()).with("type", string(name))
}

#[inline(never)]
pub fn text() -> Schema {
    kind("string")
}

/// Bytes of any kind.
#[inline(never)]
pub fn bytes() -> Schema {
    text().format("binary")
}

#[inline(never)]
pub fn flag() -> Schema {
    kind("boolean")
}

/// A whole number that is not negative.
#[inline(never)]
pub fn count() -> Schema {
    kind("integer").at_least(0)
}

/// A whole number from this one on.
#[inline(never)]
pub fn count_from(min: usize) -> Schema {
    kind("integer").at_least(min)
}

/// One of these words.
#[inline(never)]
pub fn word(words: &[&str]) -> Schema {
    text().with("enum", Value::List(words.iter().map(|word| string(word)).collect()))
}

/// Always this word.
#[inline(never)]
pub fn constant(word: &str) -> Schema {
    text().with("const", string(word))
}

/// There only with this value.
#[inline(never)]
pub fn always(value: bool) -> Schema {
    flag().with("const", Value::Bool(value))
}

#[inline(never)]
pub fn list(of: Schema) -> Schema {
    kind("array").with("items", of.value())
}

#[inline(never)]
pub fn named(name: &str) -> Schema {
    Schema(Vec::new()).with("$ref", string(&format!("{NAMED}{name}")))
}

#[inline(never)]
pub fn id() -> Schema {
    named("Id")
}

#[inline(never)]
pub fn or_null(schema: Schema) -> Schema {
    one_of([schema, kind("null")])
}

#[inline(never)]
pub fn one_of<const N: usize>(choices: [Schema; N]) -> Schema {
    Schema(Vec::new()).with("oneOf", Value::List(choices.iter().map(Schema::value).collect()))
}

/// One of these, of which one may have all the properties of another.
#[inline(never)]
pub fn any_of<const N: usize>(choices: [Schema; N]) -> Schema {
    Schema(Vec::new()).with("anyOf", Value::List(choices.iter().map(Schema::value).collect()))
}

#[inline(never)]
pub fn null() -> Schema {
    kind("null")
}

/// Any value at all.
#[inline(never)]
pub fn anything() -> Schema {
    Schema(Vec::new())
}

/// An object whose properties are not fixed.
#[inline(never)]
pub fn any_object() -> Schema {
    kind("object")
}

/// An object from names to values of one shape.
#[inline(never)]
pub fn map(of: Schema) -> Schema {
    kind("object").with("additionalProperties", of.value())
}

/// A number, or a text that is at most this long.
#[inline(never)]
pub fn number_or_text(max: usize) -> Schema {
    one_of([text().length(0, max), kind("number")])
}

#[inline(never)]
pub fn object(fields: &[Field]) -> Schema {
    let required = fields.iter().filter(|field| field.required).map(|field| string(field.name));
    let properties = record(fields.iter().map(|field| (field.name, field.schema.value())));
    let required: Vec<_> = required.collect();
    let schema = kind("object").with("properties", properties);
    if required.is_empty() { schema } else { schema.with("required", Value::List(required)) }
}

#[inline(never)]
pub fn string(text: &str) -> Value<'static> {
    Value::Str(text.to_owned().into())
}

#[inline(never)]
pub fn number(value: usize) -> Value<'static> {
    Value::Int(i64::try_from(value).expect("a bound fits"))
}

pub fn record<'a, K: Into<std::borrow::Cow<'a, str>>>(
    members: impl IntoIterator<Item = (K, Value<'a>)>,
) -> Value<'a> {
    let mut object = Object::default();
    members.into_iter().for_each(|(name, value)| object.push(name, value));
    Value::Object(object)
}
