//! Value templates, as far as they say where a value is and nothing else.
//!
//! `{{ value_json.a.b }}`, `{{ value_json['a'][0] }}`, `{{ value_json.get('a') }}`, `{{ value }}`,
//! each perhaps with filters behind it that leave the number what it is. Everything else computes
//! a value that is in no payload.

use alloc::string::String;

/// The longest path, in bytes.
const MAX_PATH: usize = 160;
/// Filters that do not change the number, but for how finely it is written.
const FILTERS: [&str; 8] =
    ["round", "float", "int", "string", "trim", "is_defined", "default", "d"];

/// The keys that lead to the value, with `/` between them; empty for the payload itself. `None` if
/// the template does more.
pub(super) fn path(template: &str) -> Option<String> {
    let inner = template.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    // `{{-` and `-}}` take away white space around it.
    let inner = inner.strip_prefix('-').unwrap_or(inner);
    let mut rest = inner.strip_suffix('-').unwrap_or(inner).trim();
    let mut path = String::new();
    if let Some(keys) = rest.strip_prefix("value_json") {
        rest = keys;
        while let Some((key, tail)) = key(rest)? {
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(key);
            rest = tail;
        }
        if path.is_empty() {
            return None;
        }
    } else {
        rest = rest.strip_prefix("value")?;
    }
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return (path.len() <= MAX_PATH).then_some(path);
        }
        rest = filter(rest.strip_prefix('|')?.trim_start())?;
    }
}

/// The next key, and what follows it; `None` inside if there is none, and outside if it cannot be
/// read.
#[expect(clippy::option_option, reason = "unreadable, absent and given are three things")]
fn key(text: &str) -> Option<Option<(&str, &str)>> {
    if let Some(rest) = text.strip_prefix('[') {
        let rest = rest.trim_start();
        let (key, rest) = quoted(rest).or_else(|| number(rest))?;
        let rest = rest.trim_start().strip_prefix(']')?;
        return Some(Some((key, rest)));
    }
    let Some(rest) = text.strip_prefix('.') else {
        return Some(None);
    };
    if let Some(rest) = rest.strip_prefix("get(") {
        let (key, rest) = quoted(rest.trim_start())?;
        return Some(Some((key, rest.trim_start().strip_prefix(')')?)));
    }
    Some(Some(word(rest)?))
}

/// A word, and what follows it.
fn word(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    text.split_at_checked(end).filter(|(word, _)| !word.is_empty())
}

fn number(text: &str) -> Option<(&str, &str)> {
    word(text).filter(|(word, _)| word.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What is in quotes of either kind, and what follows it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    let (inside, rest) = text.get(1..)?.split_once(quote)?;
    let is_plain = !inside.is_empty() && !inside.contains('\\');
    is_plain.then_some((inside, rest))
}

/// What follows a filter, if that leaves the value what it is.
fn filter(text: &str) -> Option<&str> {
    let (name, rest) = word(text)?;
    if !FILTERS.contains(&name) {
        return None;
    }
    match rest.strip_prefix('(') {
        Some(arguments) => {
            let (arguments, rest) = arguments.split_once(')')?;
            (!arguments.contains(['(', '|'])).then_some(rest)
        }
        None => Some(rest),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_template_that_says_where_the_value_is_is_understood() {
        for (template, expected) in [
            ("{{ value_json.temperature }}", "temperature"),
            ("{{value_json.ENERGY.Power}}", "ENERGY/Power"),
            ("{{ value_json['temperature'] }}", "temperature"),
            (r#"{{ value_json["switch:0"].aenergy["total"] }}"#, "switch:0/aenergy/total"),
            ("{{ value_json['DS18B20-1']['Temperature'] }}", "DS18B20-1/Temperature"),
            ("{{ value_json.relays[0].power }}", "relays/0/power"),
            ("{{ value_json.get('a b') }}", "a b"),
            ("{{ value_json.a | round(1) }}", "a"),
            ("{{ value_json.tempc | is_defined }}", "tempc"),
            ("{{ value_json.a|float|round(1, 'floor') }}", "a"),
            ("{{- value_json.a | default(0) -}}", "a"),
            ("{{ value }}", ""),
            ("{{ value | float(0) }}", ""),
        ] {
            assert_eq!(path(template).as_deref(), Some(expected), "{template}");
        }
    }

    #[test]
    fn a_template_that_computes_is_not() {
        for template in [
            "",
            "temperature",
            "{{ value_json }}",
            "{{ values }}",
            "{{ value_json.a * 1.8 + 32 }}",
            "{{ value_json.a | float / 10 }}",
            "{{ (value_json.a | float) | round(1) }}",
            "{{ value_json.a | multiply(10) }}",
            "{{ value_json.a if value_json.b else 0 }}",
            "{{ value_json.a }}{{ value_json.b }}",
            "{% if value_json.a %}{{ value_json.a }}{% endif %}",
            "{{ value_json[a] }}",
            "{{ value_json['a }}",
            "{{ value_json. }}",
            "{{ value_json[''] }}",
            "{{ states('sensor.a') }}",
            "{{ value_json.a | default(value_json.b | float) }}",
        ] {
            assert_eq!(path(template), None, "{template}");
        }
    }

    proptest! {
        #[test]
        fn no_template_panics(inner in r#"(value(_json)?)?[a-z.\[\]'"0-9|() é-]{0,30}"#) {
            let template = ["{{", &inner, "}}"].concat();
            if let Some(path) = path(&template) {
                prop_assert!(path.is_empty() || template.contains("value_json"));
            }
        }
    }
}
