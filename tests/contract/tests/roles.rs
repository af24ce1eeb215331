//! What the roles of template.yaml may reach of the registry, by the beginnings of
//! its keys. The local AWS does not enforce these conditions, so that no journey
//! can tell.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a template that cannot be read has failed"
)]

use std::collections::BTreeMap;

use serde_json::Value;

/// The beginnings of the keys of who operates the hub.
const PEOPLES: [&str; 6] = [
    "operator#",
    "session#",
    "apikey#",
    "link#",
    "throttle#",
    "confirmation#",
];

/// Each role's statements about the registry: actions, and the keys' beginnings.
fn of_the_registry() -> BTreeMap<String, Vec<(Value, Vec<String>)>> {
    let template = include_str!("../../../template.yaml");
    let template: Value = serde_saphyr::from_str(template).unwrap();
    let resources = template["Resources"].as_object().unwrap().iter();
    let roles = resources.filter(|(_, resource)| resource["Type"] == "AWS::IAM::Role");
    let statements = roles.map(|(name, role)| {
        let policies = role["Properties"]["Policies"].as_array().unwrap().iter();
        let all = policies.flat_map(|policy| {
            policy["PolicyDocument"]["Statement"]
                .as_array()
                .unwrap()
                .clone()
        });
        let registry = all.filter(|statement| statement["Resource"] == "Registry.Arn");
        let named = registry.map(|statement| {
            let keys = &statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"];
            let keys = keys
                .as_array()
                .unwrap_or_else(|| panic!("{name}: {statement}"));
            let keys = keys.iter().map(|key| key.as_str().unwrap().to_owned());
            (statement["Action"].clone(), keys.collect())
        });
        (name.clone(), named.collect())
    });
    statements.collect()
}

#[test]
fn nobody_but_the_operators_api_reaches_operators_sessions_and_keys() {
    let mut reached = 0;
    for (role, statements) in of_the_registry() {
        for (actions, keys) in statements {
            for key in keys {
                // One row, or all of a kind.
                let beginning = key.strip_suffix('*').unwrap_or(&key);
                let is_whole = beginning == key || beginning.ends_with('#');
                assert!(is_whole, "{role} {actions}: {key}");
                let is_peoples = PEOPLES.contains(&beginning);
                reached += usize::from(is_peoples);
                assert!(
                    !is_peoples || role == "OperatorRole",
                    "{role} {actions}: {key}"
                );
            }
        }
    }
    assert!(reached > 4, "{reached}: the template was not read");
}

#[test]
fn wechats_certificates_are_kept_by_those_who_hold_the_keys_that_open_them() {
    let template: Value = serde_saphyr::from_str(include_str!("../../../template.yaml")).unwrap();
    for (role, statements) in of_the_registry() {
        let policies = &template["Resources"][&role]["Properties"]["Policies"];
        let holds_keys = policies.to_string().contains("/payment-keys-v3/*");
        for action in ["dynamodb:GetItem", "dynamodb:UpdateItem"] {
            let may = statements.iter().any(|(actions, keys)| {
                actions.to_string().contains(action)
                    && keys.iter().any(|key| key == "certificates#*")
            });
            assert_eq!(may, holds_keys, "{role} {action}");
        }
        for (actions, keys) in statements {
            let replaces = ["PutItem", "DeleteItem"]
                .iter()
                .any(|name| actions.to_string().contains(name));
            assert!(
                !(replaces && keys.iter().any(|key| key == "certificates#*")),
                "{role}"
            );
        }
    }
}
