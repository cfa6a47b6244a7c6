//! nftables rules as data, and as the JSON that `nft -j` reads (libnftables-json(5)).
//!
//! A rule is told by the digest of what it says, which stands in its comment: the kernel shows rules in other words than they
//! were given in, so that comparing those would see differences where none are. Text of a tenant is in none of this.

use std::{collections::BTreeMap, fmt, net::Ipv4Addr};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The table, in each family.
pub const TABLE: &str = "photon";

/// Which hooks a table sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Frames of bridges.
    Bridge,
    /// IPv4 packets.
    Ip,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Bridge, Self::Ip];

    /// nft's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Ip => "ip",
        }
    }
}

/// A set or chain of a family.
pub type Named = (Family, String);

/// What an element is: its parts, in the order of the set's type.
pub type Key = Vec<String>;

/// What the elements of a set are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SetKind {
    /// Device and MAC.
    DeviceMac,
    /// Device, MAC, address.
    DeviceMacAddress,
    /// Device, MAC of the frame, MAC and address that the ARP packet says.
    DeviceArp,
    /// Address.
    Address,
    /// Address, and the chain that decides.
    AddressVerdict,
    /// Address, and the one it is translated to.
    AddressAddress,
    /// Device.
    Device,
}

/// What an element of a map leads to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// To the chain.
    Chain(String),
    /// To the address.
    Address(Ipv4Addr),
}

impl Target {
    /// The chain, if it is one.
    #[must_use]
    pub fn chain(&self) -> Option<&String> {
        match self {
            Self::Chain(chain) => Some(chain),
            Self::Address(_) => None,
        }
    }
}

/// An element: its key, and in a map what it leads to.
pub type Element = (Key, Option<Target>);

impl SetKind {
    fn parts(self) -> Value {
        match self {
            Self::DeviceMac => json!(["ifname", "ether_addr"]),
            Self::DeviceMacAddress => json!(["ifname", "ether_addr", "ipv4_addr"]),
            Self::DeviceArp => json!(["ifname", "ether_addr", "ether_addr", "ipv4_addr"]),
            Self::Address | Self::AddressVerdict | Self::AddressAddress => json!("ipv4_addr"),
            Self::Device => json!("ifname"),
        }
    }

    /// What its elements lead to, if anything.
    fn leads_to(self) -> Option<&'static str> {
        match self {
            Self::AddressVerdict => Some("verdict"),
            Self::AddressAddress => Some("ipv4_addr"),
            _ => None,
        }
    }

    /// Whether its elements lead to something.
    #[must_use]
    pub fn is_map(self) -> bool {
        self.leads_to().is_some()
    }
}

/// A set or a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// What its elements are. Of one that was read, a guess that only tells maps from sets.
    pub is_map: bool,
    /// For making it.
    pub kind: Option<SetKind>,
    /// Elements, in a map with what each leads to.
    pub elements: BTreeMap<Key, Option<Target>>,
}

/// Where a base chain is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// What its rules may do: `filter` or `nat`.
    pub kind: &'static str,
    /// nft's name of it.
    pub name: &'static str,
    /// Lower is earlier.
    pub priority: i32,
    /// What happens at the end: `accept` or `drop`.
    pub policy: &'static str,
}

impl Hook {
    /// One at whose end everything passes.
    #[must_use]
    pub fn open(kind: &'static str, name: &'static str, priority: i32) -> Self {
        Self {
            kind,
            name,
            priority,
            policy: "accept",
        }
    }
}

/// One rule.
#[derive(Clone, PartialEq, Eq)]
pub struct Rule {
    /// Which one it is: its comment in the kernel.
    pub digest: String,
    /// What it says; null if it was read.
    pub expression: Value,
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.expression)
    }
}

impl Rule {
    /// A rule of these expressions.
    #[must_use]
    pub fn new(expressions: Vec<Value>) -> Self {
        let expression = Value::Array(expressions);
        let digest = Sha256::digest(expression.to_string().as_bytes());
        let digest = digest.iter().take(8).map(|byte| format!("{byte:02x}"));
        Self {
            digest: digest.collect(),
            expression,
        }
    }
}

/// A chain with its rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// If the kernel calls it.
    pub hook: Option<Hook>,
    /// In their order.
    pub rules: Vec<Rule>,
    /// Chains that it jumps to.
    pub jumps: Vec<String>,
    /// Sets that it looks into.
    pub looks: Vec<String>,
}

impl Chain {
    /// A chain of these rules.
    #[must_use]
    pub fn new(hook: Option<Hook>, rules: Vec<Rule>) -> Self {
        let mut chain = Self {
            hook,
            ..Self::default()
        };
        for rule in &rules {
            collect_references(&rule.expression, &mut chain);
        }
        chain.rules = rules;
        chain
    }

    /// Whether the rules are those, whatever else is known of the chains.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        let digests = |chain: &Self| -> Vec<String> {
            chain.rules.iter().map(|rule| rule.digest.clone()).collect()
        };
        digests(self) == digests(other)
    }
}

/// All of ours in a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// Sets and maps.
    pub sets: BTreeMap<Named, Set>,
    /// Chains.
    pub chains: BTreeMap<Named, Chain>,
}

impl Ruleset {
    /// As it is after these changes, in the words that [`read`] has for it. `false` if they cannot be made of this: then it is
    /// not what is there.
    pub fn take(&mut self, changes: &[RuleChange]) -> bool {
        changes.iter().all(|change| self.take_one(change).is_some())
    }

    fn take_one(&mut self, change: &RuleChange) -> Option<()> {
        match change {
            RuleChange::Table(_) => {}
            RuleChange::AddSet(named, kind) => {
                let set = Set {
                    is_map: kind.is_map(),
                    kind: None,
                    elements: BTreeMap::new(),
                };
                self.sets.entry(named.clone()).or_insert(set);
            }
            RuleChange::AddChain(named, _) => {
                self.chains.entry(named.clone()).or_default();
            }
            RuleChange::Fill(named, rules, _) => {
                let mut filled = Chain::new(None, rules.clone());
                for rule in &mut filled.rules {
                    rule.expression = Value::Null;
                }
                *self.chains.get_mut(named)? = filled;
            }
            RuleChange::AddElements(named, elements) => {
                let set = self.sets.get_mut(named)?;
                set.elements.extend(elements.iter().cloned());
            }
            RuleChange::RemoveElements(named, elements) => {
                let set = self.sets.get_mut(named)?;
                for (key, _) in elements {
                    set.elements.remove(key)?;
                }
            }
            RuleChange::RemoveChain(named) => drop(self.chains.remove(named)?),
            RuleChange::RemoveSet(named, _) => drop(self.sets.remove(named)?),
            RuleChange::RemoveTable(family) => {
                self.sets.retain(|(one, _), _| one != family);
                self.chains.retain(|(one, _), _| one != family);
            }
        }
        Some(())
    }
}

/// Whether a chain that is filled anew loses rules that it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loses {
    /// What lives by them is to end.
    Some,
    /// It gets more, or gets back what it had.
    Nothing,
}

/// One change of rules. A list of them is done at once or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleChange {
    /// The family's table is there.
    Table(Family),
    /// A set is there.
    AddSet(Named, SetKind),
    /// A chain is there.
    AddChain(Named, Option<Hook>),
    /// The chain has these rules and no others.
    Fill(Named, Vec<Rule>, Loses),
    /// Elements are in.
    AddElements(Named, Vec<Element>),
    /// Elements are out.
    RemoveElements(Named, Vec<Element>),
    /// The chain is gone.
    RemoveChain(Named),
    /// The set is gone. The flag says whether it is a map.
    RemoveSet(Named, bool),
    /// The family's table is gone, with all that is in it.
    RemoveTable(Family),
}

/// The most changes that are named.
const MOST_NAMED: usize = 12;

/// What changes do, in one line.
#[derive(Debug)]
pub struct Summary<'a>(pub &'a [RuleChange]);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // That a table is there goes without saying.
        let said = self.0.iter();
        let said = said.filter(|change| !matches!(change, RuleChange::Table(_)));
        let said: Vec<&RuleChange> = said.collect();
        for (at, change) in said.iter().take(MOST_NAMED).enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{change}")?;
        }
        match said.len().saturating_sub(MOST_NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl fmt::Display for RuleChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |(family, name): &Named| format!("{} {name}", family.as_str());
        match self {
            Self::Table(family) => write!(f, "table {}", family.as_str()),
            Self::AddSet(set, kind) => {
                let what = if kind.is_map() { "map" } else { "set" };
                write!(f, "add {what} {}", name(set))
            }
            Self::AddChain(chain, _) => write!(f, "add chain {}", name(chain)),
            Self::Fill(chain, rules, _) => {
                write!(
                    f,
                    "fill {} with {}",
                    name(chain),
                    count(rules.len(), "rule")
                )
            }
            Self::AddElements(set, elements) => {
                write!(f, "add {} to {}", named_elements(elements), name(set))
            }
            Self::RemoveElements(set, elements) => {
                write!(f, "remove {} from {}", named_elements(elements), name(set))
            }
            Self::RemoveChain(chain) => write!(f, "remove chain {}", name(chain)),
            Self::RemoveSet(set, _) => write!(f, "remove set {}", name(set)),
            Self::RemoveTable(family) => write!(f, "remove table {}", family.as_str()),
        }
    }
}

/// One by its parts, several by their number.
fn named_elements(elements: &[Element]) -> String {
    match elements {
        [(key, _)] => key.join(" . "),
        several => count(several.len(), "element"),
    }
}

fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// The changes as one transaction of `nft -j -f -`.
#[must_use]
pub fn transaction(changes: &[RuleChange]) -> Value {
    let commands: Vec<Value> = changes.iter().flat_map(commands).collect();
    json!({ "nftables": commands })
}

fn commands(change: &RuleChange) -> Vec<Value> {
    match change {
        RuleChange::Table(family) => {
            vec![json!({"add": {"table": {"family": family.as_str(), "name": TABLE}}})]
        }
        RuleChange::AddSet((family, name), kind) => vec![add_set(*family, name, *kind)],
        RuleChange::AddChain(named, hook) => vec![add_chain(named, *hook)],
        RuleChange::Fill(named, rules, _) => {
            let flush = json!({"flush": {"chain": chain(named)}});
            let rules = rules.iter().map(|rule| add_rule(named, rule));
            std::iter::once(flush).chain(rules).collect()
        }
        RuleChange::AddElements(named, elements) => {
            vec![json!({"add": {"element": with_elements(named, elements)}})]
        }
        RuleChange::RemoveElements(named, elements) => {
            vec![json!({"delete": {"element": with_elements(named, elements)}})]
        }
        RuleChange::RemoveChain(named) => vec![
            json!({"flush": {"chain": chain(named)}}),
            json!({"delete": {"chain": chain(named)}}),
        ],
        RuleChange::RemoveTable(family) => {
            vec![json!({"delete": {"table": {"family": family.as_str(), "name": TABLE}}})]
        }
        RuleChange::RemoveSet((family, name), is_map) => {
            let what = if *is_map { "map" } else { "set" };
            let set = json!({"family": family.as_str(), "table": TABLE, "name": name});
            vec![json!({"delete": {what: set}})]
        }
    }
}

fn chain((family, name): &Named) -> Value {
    json!({"family": family.as_str(), "table": TABLE, "name": name})
}

fn add_set(family: Family, name: &str, kind: SetKind) -> Value {
    let mut set = json!({
        "family": family.as_str(), "table": TABLE, "name": name, "type": kind.parts(),
    });
    if let Some(target) = kind.leads_to() {
        set["map"] = json!(target);
        json!({"add": {"map": set}})
    } else {
        json!({"add": {"set": set}})
    }
}

fn add_chain(named: &Named, hook: Option<Hook>) -> Value {
    let mut chain = chain(named);
    if let Some(hook) = hook {
        chain["type"] = json!(hook.kind);
        chain["hook"] = json!(hook.name);
        chain["prio"] = json!(hook.priority);
        chain["policy"] = json!(hook.policy);
    }
    json!({"add": {"chain": chain}})
}

fn add_rule((family, name): &Named, rule: &Rule) -> Value {
    json!({"add": {"rule": {
        "family": family.as_str(), "table": TABLE, "chain": name,
        "comment": rule.digest, "expr": rule.expression,
    }}})
}

fn with_elements((family, name): &Named, elements: &[Element]) -> Value {
    let elements: Vec<Value> = elements.iter().map(element).collect();
    json!({"family": family.as_str(), "table": TABLE, "name": name, "elem": elements})
}

fn element((key, target): &Element) -> Value {
    let key = match key.as_slice() {
        [one] => json!(one),
        parts => json!({"concat": parts}),
    };
    match target {
        None => key,
        Some(Target::Chain(chain)) => json!([key, {"jump": {"target": chain}}]),
        Some(Target::Address(address)) => json!([key, address.to_string()]),
    }
}

/// What `nft -j list ruleset` says of our tables.
///
/// # Errors
/// What is not in the form that nft writes.
pub fn read(listing: &Value) -> Result<Ruleset, String> {
    let entries = listing["nftables"].as_array().ok_or("no list of entries")?;
    let mut found = Ruleset::default();
    for entry in entries {
        let Some((what, body)) = entry.as_object().and_then(|entry| entry.iter().next()) else {
            return Err("an entry that says nothing".to_owned());
        };
        let Some(family) = family_of(what, body) else {
            continue;
        };
        let named = |field: &str| {
            let name = body[field].as_str().ok_or("an entry without a name")?;
            Ok::<Named, String>((family, name.to_owned()))
        };
        match what.as_str() {
            "set" | "map" => {
                let elements = body["elem"].as_array().map_or(&[][..], Vec::as_slice);
                let elements = elements
                    .iter()
                    .map(read_element)
                    .collect::<Result<_, _>>()?;
                let set = Set {
                    is_map: what == "map",
                    kind: None,
                    elements,
                };
                found.sets.insert(named("name")?, set);
            }
            "chain" => {
                found.chains.entry(named("name")?).or_default();
            }
            "rule" => read_rule(body, found.chains.entry(named("chain")?).or_default()),
            _ => {}
        }
    }
    Ok(found)
}

/// The family, of what is in a table of ours.
fn family_of(what: &str, body: &Value) -> Option<Family> {
    let table = if what == "table" { "name" } else { "table" };
    if body[table].as_str() != Some(TABLE) {
        return None;
    }
    let family = body["family"].as_str()?;
    Family::ALL.into_iter().find(|one| one.as_str() == family)
}

fn read_rule(body: &Value, chain: &mut Chain) {
    // A rule without a digest is none of ours: no digest is empty, so the chain differs and is filled anew.
    let digest = body["comment"].as_str().unwrap_or_default().to_owned();
    chain.rules.push(Rule {
        digest,
        expression: Value::Null,
    });
    collect_references(&body["expr"], chain);
}

/// Jumps and sets named anywhere in an expression.
fn collect_references(expression: &Value, chain: &mut Chain) {
    match expression {
        Value::Array(parts) => parts
            .iter()
            .for_each(|part| collect_references(part, chain)),
        Value::Object(fields) => {
            if let Some(target) = expression["jump"]["target"].as_str() {
                chain.jumps.push(target.to_owned());
            }
            fields
                .values()
                .for_each(|part| collect_references(part, chain));
        }
        Value::String(text) => {
            if let Some(set) = text.strip_prefix('@') {
                chain.looks.push(set.to_owned());
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn read_element(value: &Value) -> Result<Element, String> {
    if let [key, target] = value.as_array().map_or(&[][..], Vec::as_slice) {
        let address = target.as_str().and_then(|address| address.parse().ok());
        let target = match address {
            Some(address) => Target::Address(address),
            None => {
                let chain = target["jump"]["target"].as_str().unwrap_or_default();
                Target::Chain(chain.to_owned())
            }
        };
        return Ok((read_key(key)?, Some(target)));
    }
    Ok((read_key(value)?, None))
}

fn read_key(value: &Value) -> Result<Key, String> {
    let text = |part: &Value| {
        let text = part.as_str().map(str::to_owned);
        text.ok_or_else(|| format!("an element that is no text: {part}"))
    };
    // An element with a counter or a comment is wrapped once more.
    let value = value.get("elem").map_or(value, |elem| &elem["val"]);
    match value.get("concat").and_then(Value::as_array) {
        Some(parts) => parts.iter().map(text).collect(),
        None => Ok(vec![text(value)?]),
    }
}

/// Expressions, by what they mean.
pub mod say {
    use serde_json::{Value, json};

    /// A field of a header.
    #[must_use]
    pub fn field(protocol: &str, field: &str) -> Value {
        json!({"payload": {"protocol": protocol, "field": field}})
    }

    /// The device that it came in by.
    #[must_use]
    pub fn device_in() -> Value {
        json!({"meta": {"key": "iifname"}})
    }

    /// The device that it goes out by.
    #[must_use]
    pub fn device_out() -> Value {
        json!({"meta": {"key": "oifname"}})
    }

    /// The addresses of a block.
    #[must_use]
    pub fn block(block: prismnet_model::Block) -> Value {
        json!({"prefix": {"addr": block.network().to_string(), "len": block.prefix_length()}})
    }

    /// Several as one.
    #[must_use]
    pub fn together(parts: Vec<Value>) -> Value {
        json!({ "concat": parts })
    }

    /// That they are equal, or the left in the set on the right.
    #[must_use]
    pub fn is(left: Value, right: impl Into<Value>) -> Value {
        json!({"match": {"op": "==", "left": left, "right": right.into()}})
    }

    /// That they are not equal, or the left not in the set on the right.
    #[must_use]
    pub fn is_not(left: Value, right: impl Into<Value>) -> Value {
        json!({"match": {"op": "!=", "left": left, "right": right.into()}})
    }

    /// That its destination was translated, or that of what it answers.
    #[must_use]
    pub fn is_translated() -> Value {
        json!({"match": {"op": "in", "left": {"ct": {"key": "status"}}, "right": "dnat"}})
    }

    /// The destination becomes what the map says of it; if that says nothing, the rule is over.
    #[must_use]
    pub fn translate_destination(map: &str) -> Value {
        let key = field("ip", "daddr");
        json!({"dnat": {"addr": {"map": {"key": key, "data": format!("@{map}")}}}})
    }

    /// The source becomes what the map says of it; if that says nothing, the rule is over.
    #[must_use]
    pub fn translate_source(map: &str) -> Value {
        let key = field("ip", "saddr");
        json!({"snat": {"addr": {"map": {"key": key, "data": format!("@{map}")}}}})
    }

    /// The source becomes that address.
    #[must_use]
    pub fn translate_source_to(address: std::net::Ipv4Addr) -> Value {
        json!({"snat": {"addr": address.to_string()}})
    }

    /// The source becomes the address of the device that it leaves by.
    #[must_use]
    pub fn masquerade() -> Value {
        json!({"masquerade": null})
    }

    /// That it answers something that was allowed.
    #[must_use]
    pub fn is_established() -> Value {
        json!({"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}})
    }

    /// The map's verdict.
    #[must_use]
    pub fn look_up(key: Value, map: &str) -> Value {
        json!({"vmap": {"key": key, "data": format!("@{map}")}})
    }

    /// That it is counted.
    #[must_use]
    pub fn count() -> Value {
        json!({"counter": null})
    }

    /// To the chain and back.
    #[must_use]
    pub fn jump(chain: &str) -> Value {
        json!({"jump": {"target": chain}})
    }

    /// The end, well.
    #[must_use]
    pub fn accept() -> Value {
        json!({"accept": null})
    }

    /// The end.
    #[must_use]
    pub fn drop() -> Value {
        json!({"drop": null})
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_nft_shows_is_read() {
        // As nft 1.0.6 writes it.
        let listing = json!({"nftables": [
            {"metainfo": {"version": "1.0.6", "json_schema_version": 1}},
            {"table": {"family": "ip", "name": "photon", "handle": 1}},
            {"table": {"family": "ip", "name": "other", "handle": 2}},
            {"set": {"family": "ip", "name": "theirs", "table": "other", "type": "ipv4_addr", "handle": 1}},
            {"map": {"family": "ip", "name": "egress", "table": "photon", "type": "ipv4_addr", "map": "verdict",
                "handle": 2, "elem": [["10.0.0.2", {"jump": {"target": "out-a"}}]]}},
            {"set": {"family": "bridge", "name": "arp", "table": "photon", "type": ["ifname", "ether_addr"],
                "handle": 3, "elem": [{"concat": ["pnv0", "06:00:00:00:00:01"]}]}},
            {"map": {"family": "ip", "name": "inward", "table": "photon", "type": "ipv4_addr", "map": "ipv4_addr",
                "handle": 7, "elem": [["198.51.100.7", "10.0.1.2"]]}},
            {"chain": {"family": "ip", "table": "photon", "name": "out-a", "handle": 4}},
            {"rule": {"family": "ip", "table": "photon", "chain": "out-a", "handle": 5, "comment": "d1",
                "expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "daddr"}},
                "right": "@members-b"}}, {"jump": {"target": "gout-b"}}]}},
            {"rule": {"family": "ip", "table": "photon", "chain": "out-a", "handle": 6, "expr": [{"drop": null}]}},
        ]});
        let found = read(&listing).unwrap();
        let out = &found.chains[&(Family::Ip, "out-a".to_owned())];
        let digests: Vec<_> = out.rules.iter().map(|rule| rule.digest.as_str()).collect();
        assert_eq!(digests, ["d1", ""]);
        assert_eq!(
            (&out.jumps[..], &out.looks[..]),
            (&["gout-b".to_owned()][..], &["members-b".to_owned()][..])
        );
        let egress = &found.sets[&(Family::Ip, "egress".to_owned())];
        assert_eq!(
            egress.elements[&vec!["10.0.0.2".to_owned()]],
            Some(Target::Chain("out-a".to_owned()))
        );
        let inward = &found.sets[&(Family::Ip, "inward".to_owned())];
        assert_eq!(
            inward.elements[&vec!["198.51.100.7".to_owned()]],
            Some(Target::Address("10.0.1.2".parse().unwrap()))
        );
        let arp = &found.sets[&(Family::Bridge, "arp".to_owned())];
        assert!(
            arp.elements
                .contains_key(&vec!["pnv0".to_owned(), "06:00:00:00:00:01".to_owned()])
        );
        assert_eq!(found.sets.len(), 3, "another's table is not ours");
    }

    #[test]
    fn changes_are_told_by_name() {
        let chain = |name: &str| (Family::Ip, name.to_owned());
        let element = |address: &str| (vec![address.to_owned()], None);
        let changes = [
            RuleChange::Table(Family::Bridge),
            RuleChange::AddSet((Family::Bridge, "arp".to_owned()), SetKind::DeviceArp),
            RuleChange::Fill(
                chain("in-a"),
                vec![Rule::new(vec![say::drop()])],
                Loses::Nothing,
            ),
            RuleChange::AddElements(chain("known"), vec![element("10.0.0.2")]),
            RuleChange::RemoveElements(
                chain("known"),
                vec![element("10.0.0.3"), element("10.0.0.4")],
            ),
        ];
        assert_eq!(
            Summary(&changes).to_string(),
            "add set bridge arp, fill ip in-a with 1 rule, add 10.0.0.2 to ip known, remove 2 elements from ip known"
        );
        let many = vec![RuleChange::RemoveChain(chain("in-a")); MOST_NAMED + 2];
        let said = Summary(&many).to_string();
        assert!(said.ends_with("remove chain ip in-a and 2 more"), "{said}");
    }

    #[test]
    fn other_words_are_another_rule() {
        let one = Rule::new(vec![say::accept()]);
        assert_eq!(one.digest, Rule::new(vec![say::accept()]).digest);
        assert_ne!(one.digest, Rule::new(vec![say::drop()]).digest);
    }
}
