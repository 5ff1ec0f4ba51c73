//! Writes ONNX files for scoring: a graph of operators with constants, as protobuf.
//!
//! The field numbers are those of ONNX's `onnx.proto`. Operators are those of opset 17, in files of
//! IR version 8, which runtimes since 2022 support.

use crate::protobuf::Message;
use serde::Serialize;

/// The version of the operator set.
pub const OPSET: u64 = 17;
/// The version of the file format.
const IR_VERSION: u64 = 8;
/// The name of the first dimension: the number of rows, which is variable.
const ROWS: &str = "N";

/// The element type of a tensor, with ONNX's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Single precision.
    Float = 1,
    /// 64-bit integers, for indices.
    Integer = 7,
    /// Booleans.
    Bool = 9,
    /// Double precision.
    Double = 11,
}

/// A numeric attribute of an operator.
#[derive(Clone, Copy, Debug)]
pub enum Attribute {
    /// Single precision.
    Float(f32),
    /// An integer.
    Integer(i64),
}

/// An input or output of a graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// The type of its numbers.
    pub kind: Kind,
    /// Its dimensions after the first, which is rows.
    pub lengths: Vec<usize>,
    /// Its description.
    pub description: String,
    /// The names of its columns, if they have names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
}

/// A value in a graph, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value(String);

/// A graph under construction. Every value has rows as its first dimension, or is a constant.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    nodes: Vec<Message>,
    constants: Vec<Message>,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    names: usize,
}

impl Graph {
    /// Adds an input.
    pub fn input(&mut self, port: Port) -> Value {
        let value = Value(port.name.clone());
        self.inputs.push(port);
        value
    }

    /// Makes a value an output.
    pub fn output(&mut self, port: Port, value: &Value) {
        self.add("Identity", &[value], &[], port.name.clone());
        self.outputs.push(port);
    }

    /// The inputs in order.
    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    /// The outputs in order.
    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// Adds an operator; returns its output.
    pub fn node(
        &mut self,
        operator: &str,
        inputs: &[&Value],
        attributes: &[(&str, Attribute)],
    ) -> Value {
        let name = self.name(operator);
        self.add(operator, inputs, attributes, name)
    }

    /// Converts to another element type.
    pub fn cast(&mut self, value: &Value, kind: Kind) -> Value {
        self.node("Cast", &[value], &[("to", Attribute::Integer(kind as i64))])
    }

    /// A constant in single precision of shape `lengths`.
    pub fn floats(&mut self, values: &[f32], lengths: &[usize]) -> Value {
        self.constant(
            Kind::Float,
            lengths,
            values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        )
    }

    /// A constant in double precision of shape `lengths`.
    pub fn doubles(&mut self, values: &[f64], lengths: &[usize]) -> Value {
        self.constant(
            Kind::Double,
            lengths,
            values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        )
    }

    /// A scalar constant in double precision.
    pub fn double(&mut self, value: f64) -> Value {
        self.doubles(&[value], &[])
    }

    /// A one-dimensional constant of integers.
    pub fn integers(&mut self, values: &[i64]) -> Value {
        self.constant(
            Kind::Integer,
            &[values.len()],
            values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        )
    }

    /// The bytes of the file: the graph and its metadata.
    pub fn to_file(&self, name: &str, description: &str, metadata: &[(String, String)]) -> Vec<u8> {
        let graph = Message::default()
            .messages(1, self.nodes.iter().cloned())
            .bytes(2, name)
            .messages(5, self.constants.iter().cloned())
            .bytes(10, description)
            .messages(11, self.inputs.iter().map(Port::to_message))
            .messages(12, self.outputs.iter().map(Port::to_message));
        let text =
            |(key, value): &(String, String)| Message::default().bytes(1, key).bytes(2, value);
        Message::default()
            .integer(1, IR_VERSION)
            .bytes(2, "lumisift")
            .bytes(3, env!("CARGO_PKG_VERSION"))
            .bytes(6, description)
            .message(7, graph)
            .message(8, Message::default().bytes(1, "").integer(2, OPSET))
            .messages(14, metadata.iter().map(text))
            .into_bytes()
    }

    fn name(&mut self, what: &str) -> String {
        self.names += 1;
        format!("{what}_{}", self.names)
    }

    fn constant(&mut self, kind: Kind, lengths: &[usize], bytes: Vec<u8>) -> Value {
        let name = self.name("constant");
        let tensor = lengths
            .iter()
            .fold(Message::default(), |tensor, length| tensor.integer(1, *length as u64));
        self.constants.push(tensor.integer(2, kind as u64).bytes(8, &name).bytes(9, bytes));
        Value(name)
    }

    fn add(
        &mut self,
        operator: &str,
        inputs: &[&Value],
        attributes: &[(&str, Attribute)],
        output: String,
    ) -> Value {
        let attribute = |(name, value): &(&str, Attribute)| {
            let named = Message::default().bytes(1, name);
            match *value {
                Attribute::Float(value) => named.float(2, value).integer(20, 1),
                Attribute::Integer(value) => named.integer(3, value as u64).integer(20, 2),
            }
        };
        let node = inputs.iter().fold(Message::default(), |node, input| node.bytes(1, &input.0));
        let name = format!("{output}_node");
        self.nodes.push(
            node.bytes(2, &output)
                .bytes(3, name)
                .bytes(4, operator)
                .messages(5, attributes.iter().map(attribute)),
        );
        Value(output)
    }
}

impl Port {
    /// A `ValueInfoProto`.
    fn to_message(&self) -> Message {
        let rows = Message::default().bytes(2, ROWS);
        let lengths =
            self.lengths.iter().map(|length| Message::default().integer(1, *length as u64));
        let shape = Message::default().message(1, rows).messages(1, lengths);
        let tensor = Message::default().integer(1, self.kind as u64).message(2, shape);
        Message::default()
            .bytes(1, &self.name)
            .message(2, Message::default().message(1, tensor))
            .bytes(3, &self.description)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_is_kept_with_its_shape_type_name_and_bytes() {
        let mut graph = Graph::default();
        assert_eq!(graph.floats(&[1.0, 2.0], &[2, 1]), Value("constant_1".into()));
        let bytes = [
            &[0x08, 2, 0x08, 1, 0x10, 1, 0x42, 10][..],
            b"constant_1",
            &[0x4a, 8, 0, 0, 0x80, 0x3f, 0, 0, 0, 0x40],
        ]
        .concat();
        assert_eq!(graph.constants[0].as_bytes(), bytes);
    }

    #[test]
    fn an_operator_names_what_it_takes_and_gives() {
        let mut graph = Graph::default();
        let port = Port {
            name: "x".into(),
            kind: Kind::Float,
            lengths: vec![3],
            description: String::new(),
            columns: vec![],
        };
        let input = graph.input(port);
        let out = graph.node(
            "LeakyRelu",
            &[&input],
            &[("alpha", Attribute::Float(1.0)), ("k", Attribute::Integer(-1))],
        );
        assert_eq!(out, Value("LeakyRelu_1".into()));
        let minus_one = [&[0x18][..], &[0xff; 9], &[1]].concat();
        let (alpha, k) = (
            [&[0x0a, 5][..], b"alpha", &[0x15, 0, 0, 0x80, 0x3f, 0xa0, 1, 1]].concat(),
            [&[0x0a, 1, b'k'][..], &minus_one, &[0xa0, 1, 2]].concat(),
        );
        let attribute = |bytes: &[u8]| [&[0x2a, bytes.len() as u8], bytes].concat();
        let names = [
            &[0x0a, 1, b'x', 0x12, 11][..],
            b"LeakyRelu_1",
            &[0x1a, 16],
            b"LeakyRelu_1_node",
            &[0x22, 9],
            b"LeakyRelu",
        ]
        .concat();
        assert_eq!(graph.nodes[0].as_bytes(), [names, attribute(&alpha), attribute(&k)].concat());
        // Name; type: tensor of floats whose shape is a name and a number; no description.
        let expected = [
            0x0a, 1, b'x', 0x12, 15, 0x0a, 13, 8, 1, 0x12, 9, 0x0a, 3, 0x12, 1, b'N', 0x0a, 2, 8,
            3, 0x1a, 0,
        ];
        assert_eq!(graph.inputs[0].to_message().as_bytes(), expected);
    }
}
