//! Pure: from a type's JSON schema to a CustomResourceDefinition: structural, without what an API server ignores
//! or takes for something else, and with the words of each enum's values in its description, for `kubectl explain`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinition, CustomResourceDefinitionNames,
    CustomResourceDefinitionSpec, CustomResourceDefinitionVersion, CustomResourceSubresourceStatus,
    CustomResourceSubresources, CustomResourceValidation,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// Formats that an API server knows; it warns of others.
const FORMATS: [&str; 3] = ["int32", "int64", "date-time"];
/// Marks the definitions that come from us: of others' we touch none.
const LABEL: (&str, &str) = ("app.kubernetes.io/name", "causeway");

/// A kind that a CustomResourceDefinition defines.
pub trait Custom: JsonSchema + Serialize + DeserializeOwned + Clone + Default {
    /// API group.
    const GROUP: &'static str;
    /// Served versions, the stored one first; all have the same fields.
    const VERSIONS: &'static [&'static str];
    /// `ServiceExport`
    const KIND: &'static str;
    /// `serviceexports`
    const PLURAL: &'static str;
    /// For kubectl.
    const SHORT_NAMES: &'static [&'static str];
    /// Whether its objects stand in a namespace.
    const NAMESPACED: bool;
    /// Whether `kubectl get causeway` lists it.
    const OURS: bool;
    /// Whether its status is a subresource.
    const STATUS: bool;
    /// Whether the API server fills in what is absent; what it fills in is stored and looks as if somebody had said it.
    const DEFAULTS: bool;
    /// What `kubectl get` shows: (name, type, path, meaning); with a leading `-` in the name only with `-o wide`.
    const COLUMNS: &'static [(&'static str, &'static str, &'static str, &'static str)];
    /// Rules over the whole object: (CEL, message).
    const RULES: &'static [(&'static str, &'static str)];

    /// Of the object.
    fn metadata(&self) -> &ObjectMeta;
    /// Of the object.
    fn metadata_mut(&mut self) -> &mut ObjectMeta;
}

/// A schema that makes no definition.
#[derive(Debug, thiserror::Error)]
pub enum BadDefinition {
    /// Not of the form that a definition has.
    #[error("{kind}: {source}")]
    Schema {
        /// Of which kind.
        kind: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// It cannot be written down.
    #[error("{name}: {source}")]
    Yaml {
        /// Which definition.
        name: String,
        /// Why.
        source: serde_saphyr::ser::Error,
    },
}

/// The definition of `K`.
pub(super) fn definition<K: Custom>() -> Result<CustomResourceDefinition, BadDefinition> {
    let generator = SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        })
        .into_generator();
    let mut schema = generator.into_root_schema_for::<K>().to_value();
    structural(&mut schema, K::DEFAULTS);
    frame::<K>(&mut schema);
    let kind = K::KIND;
    let schema =
        serde_json::from_value(schema).map_err(|source| BadDefinition::Schema { kind, source })?;
    let singular = K::KIND.to_ascii_lowercase();
    let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    let version = |(index, name): (usize, &&str)| CustomResourceDefinitionVersion {
        additional_printer_columns: Some(columns::<K>()),
        name: (*name).to_owned(),
        schema: Some(CustomResourceValidation {
            open_api_v3_schema: Some(Clone::clone(&schema)),
        }),
        served: true,
        storage: index == 0,
        subresources: K::STATUS.then(|| CustomResourceSubresources {
            scale: None,
            status: Some(CustomResourceSubresourceStatus(json!({}))),
        }),
        ..CustomResourceDefinitionVersion::default()
    };
    Ok(CustomResourceDefinition {
        metadata: ObjectMeta {
            name: Some(format!("{}.{}", K::PLURAL, K::GROUP)),
            labels: Some([(LABEL.0.to_owned(), LABEL.1.to_owned())].into()),
            // The API server refuses groups below k8s.io without a word of who agreed to them.
            annotations: K::GROUP.ends_with(".k8s.io").then(|| {
                let approved =
                    "https://github.com/kubernetes/enhancements/tree/master/keps/sig-multicluster";
                [("api-approved.kubernetes.io".to_owned(), approved.to_owned())].into()
            }),
            ..ObjectMeta::default()
        },
        spec: CustomResourceDefinitionSpec {
            group: K::GROUP.to_owned(),
            names: CustomResourceDefinitionNames {
                categories: K::OURS.then(|| owned(&["causeway"])),
                kind: K::KIND.to_owned(),
                list_kind: Some(format!("{}List", K::KIND)),
                plural: K::PLURAL.to_owned(),
                short_names: Some(owned(K::SHORT_NAMES)).filter(|names| !names.is_empty()),
                singular: Some(singular),
            },
            scope: if K::NAMESPACED {
                "Namespaced"
            } else {
                "Cluster"
            }
            .to_owned(),
            versions: K::VERSIONS.iter().enumerate().map(version).collect(),
            ..CustomResourceDefinitionSpec::default()
        },
        status: None,
    })
}

fn columns<K: Custom>() -> Vec<CustomResourceColumnDefinition> {
    let column = |(name, type_, path, meaning): &(&str, &str, &str, &str)| {
        let wide = name.strip_prefix('-');
        CustomResourceColumnDefinition {
            description: (!meaning.is_empty()).then(|| (*meaning).to_owned()),
            json_path: (*path).to_owned(),
            name: wide.unwrap_or(name).to_owned(),
            priority: wide.map(|_| 1),
            type_: (*type_).to_owned(),
            format: None,
        }
    };
    K::COLUMNS.iter().map(column).collect()
}

/// What every object has, and the rules over all of it.
fn frame<K: Custom>(schema: &mut Value) {
    let Some(root) = schema.as_object_mut() else {
        return;
    };
    if let Some(properties) = root.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("metadata".to_owned(), json!({"type": "object"}));
        let version = "Version of this form of the object, `GROUP/VERSION`.";
        let kind = "Kind of this object, in CamelCase.";
        properties.insert(
            "apiVersion".to_owned(),
            json!({"type": "string", "description": version}),
        );
        properties.insert(
            "kind".to_owned(),
            json!({"type": "string", "description": kind}),
        );
    }
    if !K::RULES.is_empty() {
        let rule = |(rule, message): &(&str, &str)| json!({"rule": rule, "message": message});
        let rules = K::RULES.iter().map(rule).collect();
        root.insert("x-kubernetes-validations".to_owned(), rules);
    }
}

/// Makes a schema structural, from the leaves to the root.
fn structural(value: &mut Value, defaults: bool) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(|v| structural(v, defaults)),
        Value::Object(schema) => {
            schema.values_mut().for_each(|v| structural(v, defaults));
            without_null(schema);
            constants(schema);
            let is_text = |value: &Value| value.is_string();
            // A property may be called like these too; its value is a schema then.
            if schema.get("title").is_some_and(is_text) {
                schema.remove("title");
            }
            let is_schema = schema.contains_key("type");
            let is_null = schema.get("default").is_some_and(Value::is_null);
            if is_schema && (is_null || !defaults) {
                schema.remove("default");
            }
            let format = schema.get("format").and_then(Value::as_str);
            if format.is_some_and(|format| !FORMATS.contains(&format)) {
                schema.remove("format");
            }
            if let Some(Value::String(text)) = schema.get_mut("description") {
                *text = one_line(text);
            }
        }
        _ => {}
    }
}

/// An absent field and one that is null are the same to Kubernetes.
fn without_null(schema: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|t| t != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    let Some(Value::Array(any)) = schema.get_mut("anyOf") else {
        return;
    };
    any.retain(|s| s.get("type").is_none_or(|t| t != "null"));
    if let [Value::Object(only)] = any.as_slice() {
        let only = only.clone();
        schema.remove("anyOf");
        for (key, value) in only {
            // The field's own description says more than its type's.
            schema.entry(key).or_insert(value);
        }
    }
}

/// A choice of constants is an enum, whose description tells what each means.
fn constants(schema: &mut Map<String, Value>) {
    let Some(Value::Array(choices)) = schema.get("oneOf") else {
        return;
    };
    let Some(values) = choices
        .iter()
        .map(|choice| choice.get("const").cloned())
        .collect::<Option<Vec<Value>>>()
    else {
        return;
    };
    let meaning = |choice: &Value| {
        let value = choice.get("const")?.as_str()?.to_owned();
        let text = choice.get("description")?.as_str()?.to_owned();
        Some(format!("`{value}`: {text}"))
    };
    let meanings: Vec<String> = choices.iter().filter_map(meaning).collect();
    schema.remove("oneOf");
    schema.insert("type".to_owned(), json!("string"));
    schema.insert("enum".to_owned(), Value::Array(values));
    let before = schema.get("description").and_then(Value::as_str);
    let text = [before.unwrap_or_default().to_owned(), meanings.join(" ")];
    let text = text.join(" ").trim().to_owned();
    schema.insert("description".to_owned(), json!(text));
}

/// Source lines of one paragraph are one line.
fn one_line(text: &str) -> String {
    let paragraphs = text.split("\n\n");
    let joined: Vec<String> = paragraphs
        .map(|p| p.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    joined.join("\n")
}

/// `status.conditions`, with the bounds that Kubernetes' own kinds have, keyed by type.
pub(super) fn conditions(generator: &mut SchemaGenerator) -> Schema {
    let mut item = Condition::json_schema(generator).to_value();
    let bounds = [
        ("message", json!({"maxLength": 32768})),
        ("observedGeneration", json!({"minimum": 0})),
        (
            "reason",
            json!({"minLength": 1, "maxLength": 1024, "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"}),
        ),
        ("status", json!({"enum": ["True", "False", "Unknown"]})),
        (
            "type",
            json!({"maxLength": 316, "pattern": r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"}),
        ),
    ];
    for (field, bound) in bounds {
        let property = item.pointer_mut(&format!("/properties/{field}"));
        if let (Some(Value::Object(property)), Value::Object(bound)) = (property, bound) {
            property.extend(bound);
        }
    }
    let list = json!({
        "type": "array",
        "items": item,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    });
    Schema::try_from(list).unwrap_or_default()
}

/// As `kubectl apply -f` takes it.
pub(super) fn yaml(definition: &CustomResourceDefinition) -> Result<String, BadDefinition> {
    serde_saphyr::to_string(definition).map_err(|source| BadDefinition::Yaml {
        name: definition.metadata.name.clone().unwrap_or_default(),
        source,
    })
}
