//! JSON objects in which a repeated key is an error. Other parsers silently keep the last one.

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};
use std::{collections::BTreeMap, fmt, marker::PhantomData, ops::Deref};

/// An object by its keys. A repeated key is an error.
#[derive(Clone, Debug, Default)]
pub struct Object<V>(pub BTreeMap<String, V>);

impl<V> Deref for Object<V> {
    type Target = BTreeMap<String, V>;

    fn deref(&self) -> &BTreeMap<String, V> {
        &self.0
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Object<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Keys<V> {
            type Value = Object<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<V>, A::Error> {
                let mut object = BTreeMap::new();
                while let Some(key) = map.next_key::<String>()? {
                    if object.contains_key(&key) {
                        return Err(A::Error::custom(format!("the key \"{key}\" is there twice")));
                    }
                    object.insert(key, map.next_value()?);
                }
                Ok(Object(object))
            }
        }
        deserializer.deserialize_map(Keys(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_key_is_an_error_with_its_line() {
        let read = serde_json::from_str::<Object<Object<u32>>>;
        assert_eq!(read("{\"a\": {\"x\": 1}, \"b\": {\"x\": 2}}").unwrap()["b"]["x"], 2);
        let message = read("{\"a\": {\"x\": 1,\n\"x\": 2}}").unwrap_err().to_string();
        assert!(message.starts_with("the key \"x\" is there twice at line 2"), "{message}");
    }
}
