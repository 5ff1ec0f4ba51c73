//! Writes Protobuf's wire format for event files and ONNX.

/// A message under construction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// Field number and wire type: 0 varint, 1 eight bytes, 2 length-delimited bytes, 5 four bytes.
    fn key(&mut self, field: u32, wire: u32) {
        self.varint(u64::from(field << 3 | wire));
    }

    /// An integer; a negative one is `value as u64`.
    pub(crate) fn integer(mut self, field: u32, value: u64) -> Self {
        self.key(field, 0);
        self.varint(value);
        self
    }

    pub(crate) fn double(mut self, field: u32, value: f64) -> Self {
        self.key(field, 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(crate) fn float(mut self, field: u32, value: f32) -> Self {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Bytes, or a text.
    pub(crate) fn bytes(mut self, field: u32, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        self.key(field, 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
        self
    }

    pub(crate) fn message(self, field: u32, value: Self) -> Self {
        self.bytes(field, value.0)
    }

    /// A repeated field.
    pub(crate) fn messages(self, field: u32, values: impl IntoIterator<Item = Self>) -> Self {
        values.into_iter().fold(self, |message, value| message.message(field, value))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_encoded_as_protobuf_wants_them() {
        assert_eq!(Message::default().integer(1, 150).0, [0x08, 0x96, 0x01]);
        assert_eq!(
            Message::default().integer(1, -1_i64 as u64).0,
            [&[0x08][..], &[0xff; 9], &[1]].concat()
        );
        assert_eq!(
            Message::default().bytes(2, "testing").0,
            [&[0x12, 7], &b"testing"[..]].concat()
        );
        assert_eq!(Message::default().float(2, 1.0).0, [0x15, 0, 0, 0x80, 0x3f]);
        assert_eq!(Message::default().double(1, -2.0).0, [0x09, 0, 0, 0, 0, 0, 0, 0, 0xc0]);
        assert_eq!(
            Message::default().message(3, Message::default().integer(1, 150)).0,
            [0x1a, 3, 0x08, 0x96, 0x01]
        );
        assert_eq!(
            Message::default()
                .messages(3, [1, 2].map(|value| Message::default().integer(1, value)))
                .0,
            [0x1a, 2, 8, 1, 0x1a, 2, 8, 2]
        );
    }

    #[test]
    fn a_field_number_above_fifteen_takes_two_bytes() {
        assert_eq!(Message::default().integer(20, 7).0, [0xa0, 0x01, 7]);
    }
}
