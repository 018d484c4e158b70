//! The combined report as JSON: its own fields in their order.

use crate::report::Combined;

/// Pretty-printed, with a newline at the end.
pub fn json(combined: &Combined) -> String {
    // Strings, numbers and maps with string keys: nothing in a report can fail to serialize.
    let mut text = serde_json::to_string_pretty(combined).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::report::combine::combine;
    use crate::report::sample::{any_part, fleet, healthy, kill, lossy, replace, rolled_up};

    /// What readers of the report may rely on.
    const SCHEMA: &str = include_str!("combined.schema.json");

    /// Where `value` is not what a schema says, by the keywords that ours uses (JSON Schema
    /// 2020-12). A keyword that it doesn't know is a fault as well.
    fn faults(root: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
        let mut found = Vec::new();
        let passes = |s: &Value| faults(root, s, value, at).is_empty();
        for (keyword, says) in schema.as_object().unwrap() {
            let holds = match keyword.as_str() {
                "$schema" | "$defs" | "title" | "description" => true,
                "$ref" => {
                    let target = says.as_str().unwrap().trim_start_matches('#');
                    found.extend(faults(root, root.pointer(target).unwrap(), value, at));
                    true
                }
                "const" => value == says,
                "enum" => says.as_array().unwrap().contains(value),
                "anyOf" => says.as_array().unwrap().iter().any(passes),
                "oneOf" => {
                    says.as_array()
                        .unwrap()
                        .iter()
                        .filter(|s| passes(s))
                        .count()
                        == 1
                }
                "type" => match says {
                    Value::Array(any) => any.iter().any(|t| is(t, value)),
                    one => is(one, value),
                },
                "minimum" => value.as_f64().is_none_or(|n| n >= says.as_f64().unwrap()),
                "required" => {
                    let mut names = says.as_array().unwrap().iter();
                    value.is_null() || names.all(|n| value.get(n.as_str().unwrap()).is_some())
                }
                "items" => {
                    for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                        found.extend(faults(root, says, item, &format!("{at}/{i}")));
                    }
                    true
                }
                "properties" => true,
                "additionalProperties" => {
                    let none = serde_json::Map::new();
                    let known = schema.get("properties").and_then(Value::as_object);
                    for (name, inner) in value.as_object().unwrap_or(&none) {
                        let at = format!("{at}/{name}");
                        match known.and_then(|known| known.get(name)).unwrap_or(says) {
                            Value::Bool(false) => found.push(format!("{at}: not in the schema")),
                            schema => found.extend(faults(root, schema, inner, &at)),
                        }
                    }
                    true
                }
                unknown => panic!("{at}: {unknown} is not understood"),
            };
            if !holds {
                found.push(format!("{at}: {keyword} says {says}, and it is {value}"));
            }
        }
        found
    }

    fn is(kind: &Value, value: &Value) -> bool {
        match kind.as_str().unwrap() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "number" => value.is_number(),
            "integer" => value.is_i64() || value.is_u64(),
            "boolean" => value.is_boolean(),
            "null" => value.is_null(),
            other => panic!("no type is called {other}"),
        }
    }

    #[test]
    fn what_is_written_is_what_the_schema_says() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let mut knee = healthy();
        replace(&mut knee, &lossy("b", 3, 9));
        let mut first = healthy();
        replace(&mut first, &lossy("b", 1, 9));
        let mut lost = healthy();
        kill(&mut lost, "a", 1);
        lost.tiers.push(any_part(7));
        let mut never = healthy();
        never.start = None;
        never.cancelled = Some("nobody came".to_owned());
        let strange = (0..20).map(|seed| {
            let mut inputs = healthy();
            replace(&mut inputs, &any_part(seed));
            inputs
        });
        let mut several = rolled_up(lost.clone());
        let sjc = crate::report::sample::vantage("sjc");
        several
            .job
            .roles
            .insert(sjc, crate::job::VantageRole::Publish);
        for inputs in [
            healthy(),
            knee,
            first,
            lost,
            never,
            several,
            rolled_up(healthy()),
            fleet(100),
        ]
        .into_iter()
        .chain(strange)
        {
            let value = serde_json::from_str(&json(&combine(&inputs))).unwrap();
            let faults = faults(&schema, &schema, &value, "");
            assert!(faults.is_empty(), "{}", faults.join("\n"));
        }
    }

    #[test]
    fn a_report_that_is_not_what_the_schema_says_is_caught() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let right: Value = serde_json::from_str(&json(&combine(&healthy()))).unwrap();
        for (path, wrong) in [
            ("/schema", Value::from(2)),
            ("/verdict", Value::from("fine")),
            ("/tiers/1/rows/0/figures/loss_percent", Value::from("0")),
            ("/tiers/1/figures/rtt_ms/p95", Value::from(-1)),
            (
                "/knee",
                serde_json::json!({"outcome": "broke", "because": []}),
            ),
        ] {
            let mut value = right.clone();
            *value.pointer_mut(path).unwrap() = wrong;
            assert!(!faults(&schema, &schema, &value, "").is_empty(), "{path}");
        }
    }
}
