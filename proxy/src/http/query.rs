//! Query parameters as bytes, because keys need not be valid text.

use super::problem::Problem;
use percent_encoding::percent_decode_str;

/// Decodes percent-encoding. A `%` without two hexadecimal digits is an error: as a literal, it would
/// give one key two spellings.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>, Problem> {
    let is_escape = |rest: &str| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if text.split('%').skip(1).all(is_escape) {
        return Ok(percent_decode_str(text).collect());
    }
    Err(Problem::bad(
        "a '%' is not followed by two hexadecimal digits: write a plain one as %25",
    ))
}

/// The parameters of a request, each at most once.
#[derive(Debug)]
pub(crate) struct Parameters(Vec<(String, Vec<u8>)>);

impl Parameters {
    /// Parses them. Rejects parameters that are not in `known`, so that a misspelled parameter is not
    /// ignored.
    pub(crate) fn new(query: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        let mut parameters = Vec::new();
        let pairs = query.unwrap_or_default().split('&');
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !known.contains(&name) {
                let known = match known {
                    [] => "none".to_owned(),
                    known => known.join(", "),
                };
                return Err(Problem::bad(&format!(
                    "there is no parameter '{}' here; there is {known}",
                    name.escape_debug(),
                )));
            }
            if parameters.iter().any(|(other, _)| other == name) {
                return Err(Problem::bad(&format!(
                    "the parameter '{name}' is given twice"
                )));
            }
            // A plus sign means a space, as in forms.
            let value = value.replace('+', " ");
            parameters.push((name.to_owned(), decode(&value)?));
        }
        Ok(Self(parameters))
    }

    /// The value of a parameter.
    pub(crate) fn bytes(&self, name: &str) -> Option<&[u8]> {
        let found = self.0.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| &value[..])
    }

    /// The value of a parameter, as a number.
    pub(crate) fn number<N: std::str::FromStr>(&self, name: &str) -> Result<Option<N>, Problem> {
        let Some(value) = self.bytes(name) else {
            return Ok(None);
        };
        let number = str::from_utf8(value)
            .ok()
            .and_then(|text| text.parse().ok());
        match number {
            Some(number) => Ok(Some(number)),
            None => Err(Problem::bad(&format!(
                "the parameter '{name}' is not a number of the kind it should be: '{}'",
                value[..value.len().min(64)].escape_ascii()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_bytes() {
        let known = ["prefix", "limit"];
        let parameters = Parameters::new(Some("prefix=a%00%ff+%2B&limit=7"), &known).unwrap();
        assert_eq!(parameters.bytes("prefix"), Some(&b"a\0\xff +"[..]));
        assert_eq!(parameters.number("limit").unwrap(), Some(7u32));
        assert_eq!(parameters.bytes("after"), None);
    }

    #[test]
    fn mistakes_are_told() {
        for wrong in [
            "prefx=a",
            "limit=1&limit=2",
            "=1",
            "limit=%",
            "limit=%1",
            "limit=%1g",
        ] {
            assert!(Parameters::new(Some(wrong), &["limit"]).is_err(), "{wrong}");
        }
        let parameters = Parameters::new(Some("limit=-1"), &["limit"]).unwrap();
        assert!(parameters.number::<u32>("limit").is_err());
    }
}
