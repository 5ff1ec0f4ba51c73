//! Expressions for conditions and quantities: `beams_stable and pileup > 25`, `max(lumi_a,
//! lumi_b)`.
//!
//! The grammar has numbers, 'texts', names, `+ - * /`, comparisons, `and or not`, and a few
//! functions. Unknown values follow three-valued logic: `false and unknown` is false, `true and
//! unknown` is unknown.

use std::{fmt, sync::Arc};

/// The value of a name or an expression in one row.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number; true is 1 and false is 0.
    Number(f64),
    /// A text.
    Text(Arc<str>),
    /// Unknown for this row.
    Unknown,
}

/// A parsed expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    text: String,
    names: Vec<String>,
    root: Node,
}

#[derive(Clone, Debug, PartialEq)]
enum Node {
    Number(f64),
    Text(Arc<str>),
    Name(usize),
    Not(Box<Node>),
    Negative(Box<Node>),
    Binary(Operator, Box<Node>, Box<Node>),
    Call(Function, Vec<Node>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Or,
    And,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Equal,
    NotEqual,
    Plus,
    Minus,
    Times,
    Divide,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Max,
    Min,
    Abs,
    Log,
    Sqrt,
}

const FUNCTIONS: &[(&str, Function)] = &[
    ("max", Function::Max),
    ("min", Function::Min),
    ("abs", Function::Abs),
    ("log", Function::Log),
    ("sqrt", Function::Sqrt),
];

/// Operators in ascending precedence.
const LEVELS: &[&[(&str, Operator)]] = &[
    &[("or", Operator::Or)],
    &[("and", Operator::And)],
    &[
        ("<=", Operator::LessEqual),
        (">=", Operator::GreaterEqual),
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
        ("<", Operator::Less),
        (">", Operator::Greater),
    ],
    &[("+", Operator::Plus), ("-", Operator::Minus)],
    &[("*", Operator::Times), ("/", Operator::Divide)],
];
const AND: usize = 1;
const COMPARISON: usize = 2;

/// Maximum nesting: enough for any expression, and safe for the stack.
const MOST_NESTING: usize = 64;
const MOST_TOKENS: usize = 500;

impl Expression {
    /// Parses an expression; the error names the first invalid part.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { tokens: tokens(text)?, at: 0, names: vec![], depth: 0 };
        let root = parser.level(0)?;
        match parser.tokens.get(parser.at) {
            None => Ok(Self { text: text.trim().to_owned(), names: parser.names, root }),
            Some(token) if token.text == "=" => Err("found \"=\"; \"==\" compares".into()),
            Some(token) => Err(format!(
                "found \"{}\" after a whole expression; expected and, or, or an operator",
                token.text
            )),
        }
    }

    /// The expression of a single name with any characters.
    pub fn name(name: &str) -> Self {
        Self { text: name.to_owned(), names: vec![name.to_owned()], root: Node::Name(0) }
    }

    /// The names in it, in the order of their first use.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Evaluates it; `known(i)` is the value of name `i`. Fails if a text is compared with a
    /// number.
    pub fn evaluate(&self, known: &dyn Fn(usize) -> Value) -> Result<Value, String> {
        self.root.evaluate(known)
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Number,
    Text,
    Word,
    Quoted,
    Sign,
}

#[derive(Clone, Debug)]
struct Token<'a> {
    kind: Kind,
    text: &'a str,
}

/// Splits a text into tokens. `HLT_ZeroBias_v*` is a single name, because the version of a trigger
/// path changes from run to run.
fn tokens(text: &str) -> Result<Vec<Token<'_>>, String> {
    let mut tokens = vec![];
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length =
            |accept: &dyn Fn(char) -> bool| rest.find(|c| !accept(c)).unwrap_or(rest.len());
        let (kind, from, to, end) = match first {
            '\'' | '`' => {
                let Some(end) = rest[1..].find(first) else {
                    return Err(format!("{first} is opened and never closed"));
                };
                (if first == '`' { Kind::Quoted } else { Kind::Text }, 1, end + 1, end + 2)
            }
            '0'..='9' | '.' => {
                let mut end = length(&|c| c.is_ascii_digit() || c == '.');
                if let Some(exponent) = rest[end..].strip_prefix(['e', 'E']) {
                    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
                    let count = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
                    if count > 0 {
                        end += 1 + exponent.len() - digits.len() + count;
                    }
                }
                (Kind::Number, 0, end, end)
            }
            c if c.is_alphabetic() || c == '_' => {
                let mut end = length(&|c| c.is_alphanumeric() || c == '_' || c == '.');
                if rest[..end].ends_with("_v") && rest[end..].starts_with('*') {
                    end += 1;
                }
                (Kind::Word, 0, end, end)
            }
            '<' | '>' | '=' | '!' if rest[1..].starts_with('=') => (Kind::Sign, 0, 2, 2),
            '<' | '>' | '=' | '+' | '-' | '*' | '/' | '(' | ')' | ',' => (Kind::Sign, 0, 1, 1),
            '"' => return Err("a text needs single quotes: prescale_name == '386b'".into()),
            '&' | '|' => {
                return Err(format!(
                    "found \"{first}\"; conditions are joined by the words and, or"
                ));
            }
            other => {
                return Err(format!(
                    "found \"{other}\"; expected a name, a number, a 'text' or an operator"
                ));
            }
        };
        tokens.push(Token { kind, text: &rest[from..to] });
        rest = rest[end..].trim_start();
    }
    match tokens.len() {
        0 => Err("is empty; expected a condition such as pileup > 25".into()),
        1..=MOST_TOKENS => Ok(tokens),
        count => Err(format!("has {count} words and signs; expected at most {MOST_TOKENS}")),
    }
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
    names: Vec<String>,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn next_is(&mut self, kind: Kind, text: &str) -> bool {
        let found =
            self.tokens.get(self.at).is_some_and(|token| token.kind == kind && token.text == text);
        self.at += usize::from(found);
        found
    }

    fn operator(&mut self, level: usize) -> Option<Operator> {
        let kind = if level <= AND { Kind::Word } else { Kind::Sign };
        LEVELS[level]
            .iter()
            .find(|(text, _)| self.next_is(kind, text))
            .map(|(_, operator)| *operator)
    }

    /// Parses an expression of operators of this level and those of higher precedence.
    fn level(&mut self, level: usize) -> Result<Node, String> {
        if level == LEVELS.len() {
            return self.nested(Self::unary);
        }
        if level == COMPARISON && self.next_is(Kind::Word, "not") {
            let inner = self.nested(|parser| parser.level(COMPARISON))?;
            return Ok(Node::Not(Box::new(inner)));
        }
        let mut left = self.level(level + 1)?;
        while let Some(operator) = self.operator(level) {
            let right = self.level(level + 1)?;
            left = Node::Binary(operator, Box::new(left), Box::new(right));
            if level == COMPARISON {
                if self.operator(level).is_some() {
                    return Err("a < b < c is not understood; write a < b and b < c".into());
                }
                break;
            }
        }
        Ok(left)
    }

    fn nested(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<Node, String>,
    ) -> Result<Node, String> {
        self.depth += 1;
        if self.depth > MOST_NESTING {
            return Err(format!("is nested deeper than {MOST_NESTING} levels"));
        }
        let node = parse(self)?;
        self.depth -= 1;
        Ok(node)
    }

    fn unary(&mut self) -> Result<Node, String> {
        if self.next_is(Kind::Sign, "-") {
            return Ok(Node::Negative(Box::new(self.nested(Self::unary)?)));
        }
        let Some(token) = self.tokens.get(self.at).cloned() else {
            return Err("ends too early; expected a name or a number".into());
        };
        self.at += 1;
        match token.kind {
            Kind::Number => token
                .text
                .parse()
                .map(Node::Number)
                .map_err(|_| format!("\"{}\" is not a number", token.text)),
            Kind::Text => Ok(Node::Text(token.text.into())),
            Kind::Word if token.text == "true" || token.text == "false" => {
                Ok(Node::Number(f64::from(u8::from(token.text == "true"))))
            }
            Kind::Word if ["and", "or", "not"].contains(&token.text) => {
                Err(format!("found \"{}\"; expected a name or a number", token.text))
            }
            Kind::Word if self.next_is(Kind::Sign, "(") => self.call(token.text),
            Kind::Word | Kind::Quoted => Ok(self.name(token.text)),
            Kind::Sign if token.text == "(" => {
                let inner = self.level(0)?;
                if self.next_is(Kind::Sign, ")") {
                    Ok(inner)
                } else {
                    Err("a bracket is opened and never closed".into())
                }
            }
            Kind::Sign => Err(format!("found \"{}\"; expected a name or a number", token.text)),
        }
    }

    fn name(&mut self, text: &'a str) -> Node {
        let at = self.names.iter().position(|name| name == text).unwrap_or_else(|| {
            self.names.push(text.to_owned());
            self.names.len() - 1
        });
        Node::Name(at)
    }

    fn call(&mut self, name: &str) -> Result<Node, String> {
        let Some((_, function)) = FUNCTIONS.iter().find(|(known, _)| *known == name) else {
            let near = crate::error::suggestion(name, FUNCTIONS.iter().map(|(known, _)| *known));
            return Err(format!(
                "no function \"{name}\"{near}; there are max, min, abs, log and sqrt"
            ));
        };
        let mut arguments = vec![self.level(0)?];
        while self.next_is(Kind::Sign, ",") {
            arguments.push(self.level(0)?);
        }
        if !self.next_is(Kind::Sign, ")") {
            return Err(format!("the bracket of {name}( is never closed"));
        }
        if arguments.len() > 1 && !matches!(function, Function::Max | Function::Min) {
            return Err(format!("{name} takes one value, found {}", arguments.len()));
        }
        Ok(Node::Call(*function, arguments))
    }
}

impl Node {
    fn evaluate(&self, known: &dyn Fn(usize) -> Value) -> Result<Value, String> {
        let number = |node: &Self| -> Result<Option<f64>, String> {
            match node.evaluate(known)? {
                Value::Number(number) => Ok(Some(number).filter(|number| !number.is_nan())),
                Value::Unknown => Ok(None),
                Value::Text(text) => Err(format!(
                    "\"{text}\" is a text where a number is needed; a text is compared with == or != 'text'"
                )),
            }
        };
        let value = |number: Option<f64>| {
            number.filter(|number| number.is_finite()).map_or(Value::Unknown, Value::Number)
        };
        let truth = |truth: Option<bool>| {
            truth.map_or(Value::Unknown, |truth| Value::Number(f64::from(u8::from(truth))))
        };
        Ok(match self {
            Self::Number(number) => Value::Number(*number),
            Self::Text(text) => Value::Text(text.clone()),
            Self::Name(name) => known(*name),
            Self::Not(inner) => truth(number(inner)?.map(|number| number == 0.0)),
            Self::Negative(inner) => value(number(inner)?.map(|number| -number)),
            Self::Binary(operator @ (Operator::And | Operator::Or), left, right) => {
                let deciding = *operator == Operator::Or;
                let (left, right) =
                    (number(left)?.map(|n| n != 0.0), number(right)?.map(|n| n != 0.0));
                truth(match (left, right) {
                    (Some(one), _) | (_, Some(one)) if one == deciding => Some(deciding),
                    (Some(_), Some(_)) => Some(!deciding),
                    _ => None,
                })
            }
            Self::Binary(operator @ (Operator::Equal | Operator::NotEqual), left, right) => {
                let equal = match (left.evaluate(known)?, right.evaluate(known)?) {
                    (Value::Unknown, _) | (_, Value::Unknown) => None,
                    (Value::Number(a), Value::Number(b)) => Some(a == b),
                    (Value::Text(a), Value::Text(b)) => Some(a == b),
                    (Value::Text(text), Value::Number(number))
                    | (Value::Number(number), Value::Text(text)) => {
                        return Err(format!(
                            "the text \"{text}\" is compared with the number {number}"
                        ));
                    }
                };
                truth(equal.map(|equal| equal == (*operator == Operator::Equal)))
            }
            Self::Binary(operator, left, right) => {
                let (left, right) = (number(left)?, number(right)?);
                let both = left.zip(right);
                match operator {
                    Operator::Less => truth(both.map(|(a, b)| a < b)),
                    Operator::LessEqual => truth(both.map(|(a, b)| a <= b)),
                    Operator::Greater => truth(both.map(|(a, b)| a > b)),
                    Operator::GreaterEqual => truth(both.map(|(a, b)| a >= b)),
                    Operator::Plus => value(both.map(|(a, b)| a + b)),
                    Operator::Minus => value(both.map(|(a, b)| a - b)),
                    Operator::Times => value(both.map(|(a, b)| a * b)),
                    _ => value(both.map(|(a, b)| a / b)),
                }
            }
            Self::Call(function, arguments) => {
                let numbers = arguments.iter().map(number).collect::<Result<Vec<_>, _>>()?;
                // The maximum is known only if all values are.
                let all: Option<Vec<f64>> = numbers.into_iter().collect();
                value(all.and_then(|all| match function {
                    Function::Max => all.into_iter().reduce(f64::max),
                    Function::Min => all.into_iter().reduce(f64::min),
                    Function::Abs => Some(all[0].abs()),
                    Function::Log => Some(all[0].ln()),
                    Function::Sqrt => Some(all[0].sqrt()),
                }))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn evaluate(text: &str) -> Value {
        let expression = Expression::parse(text).unwrap();
        let known = |i: usize| match expression.names()[i].as_str() {
            "pileup" => Value::Number(30.0),
            "beams_stable" => Value::Number(1.0),
            "HLT_ZeroBias_v*" => Value::Number(6.0),
            "prescale_name" => Value::Text("386b".into()),
            "odd name" => Value::Number(7.0),
            _ => Value::Unknown,
        };
        expression.evaluate(&known).unwrap()
    }

    #[test]
    fn arithmetic_and_comparisons_bind_as_in_mathematics() {
        for (text, value) in [
            ("1 + 2 * 3", 7.0),
            ("(1 + 2) * 3", 9.0),
            ("2 - 3 - 4", -5.0),
            ("-2 * -3", 6.0),
            ("1e2 / 4", 25.0),
            ("pileup > 25", 1.0),
            ("pileup>25 and not pileup>=31", 1.0),
            ("false or pileup == 30", 1.0),
            ("HLT_ZeroBias_v* > 5", 1.0),
            ("pileup * HLT_ZeroBias_v* * 2", 360.0),
            ("prescale_name == '386b'", 1.0),
            ("prescale_name != '386b'", 0.0),
            ("max(1, pileup, 2)", 30.0),
            ("`odd name` + 1", 8.0),
            ("not false and false", 0.0),
            ("true or false and false", 1.0),
        ] {
            assert_eq!(evaluate(text), Value::Number(value), "{text}");
        }
    }

    #[test]
    fn unknown_stays_unknown_unless_the_rest_decides() {
        for text in [
            "x",
            "x > 1",
            "x > 1 and pileup > 25",
            "x > 1 or pileup > 99",
            "not x",
            "max(x, 1)",
            "1 / 0",
            "log(-1)",
            "x == x",
        ] {
            assert_eq!(evaluate(text), Value::Unknown, "{text}");
        }
        assert_eq!(evaluate("x > 1 and pileup > 99"), Value::Number(0.0));
        assert_eq!(evaluate("pileup > 25 or x > 1"), Value::Number(1.0));
    }

    #[test]
    fn faults_say_what_is_wrong() {
        for (text, part) in [
            ("", "is empty"),
            ("pileup >", "ends too early"),
            ("pileup = 3", "\"==\" compares"),
            ("1 < 2 < 3", "write a < b and b < c"),
            ("(1 + 2", "never closed"),
            ("maxx(1)", "did you mean \"max\"?"),
            ("abs(1, 2)", "takes one value"),
            ("pileup 3", "after a whole expression"),
            ("a ; b", "found \";\""),
            ("'abc", "never closed"),
            ("1.2.3 > 1", "\"1.2.3\" is not a number"),
            ("and", "expected a name"),
        ] {
            let message = Expression::parse(text).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
        for (text, part) in [
            ("(", "nested deeper"),
            ("-", "nested deeper"),
            ("not ", "nested deeper"),
            ("1 + ", "ends too early"),
        ] {
            assert!(Expression::parse(&text.repeat(200)).unwrap_err().contains(part), "{text}");
        }
        assert!(
            Expression::parse(&"1 + ".repeat(100_000)).unwrap_err().contains("words and signs")
        );
        let text = Expression::parse("prescale_name > 3").unwrap();
        assert!(text.evaluate(&|_| Value::Text("386b".into())).unwrap_err().contains("is a text"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "([a-z_]{1,3}|[0-9.]{1,3}|[-+*/<>=!() ,'`é]){0,30}") {
            if let Ok(expression) = Expression::parse(&text) {
                let _ = expression.evaluate(&|_| Value::Number(1.0));
            }
        }
    }
}
