//! Tests of groups whose hosts are spread over several sites. Paths between sites and events at a site then affect
//! hosts of all groups.
use actors::id::HostId;
use actors::seed::Seed;
use actors::time::Duration;
use scenarios::plan::{Between, Distribution, Hosts, Link, Network, Plan, SiteTable, What};
use scenarios::{Loaded, Overrides};
use std::collections::BTreeMap;

const SCENARIO: &str = r#"#![enable(implicit_some, unwrap_newtypes)]
Scenario(
    version: 1,
    name: "spread",
    model: Model(shape: Opt("125m")),
    hosts: [
        Host(name: "gpu", count: 7, sites: ["Tokyo", "London", "Oregon"], device: Preset("t4")),
        Host(name: "extra", site: "London", device: Preset("l4")),
        Host(name: "client", sites: All, device: Preset("cpu-8")),
    ],
    peers: [Peers(on: "gpu", span: Capacity(blocks: 6)), Peers(on: "extra", span: Blocks(0, 12))],
    network: Network(default: Link(delay: "1 ms", bandwidth: "1 Gbit/s"), rtt: Regions("aws-2019")),
    workload: Closed(on: "client", clients: 13, prompt: 8, generate: 4),
)"#;

fn plan(set: &[(&str, &str)]) -> Plan {
    let set = set.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect();
    let loaded = Loaded::read("spread.ron", SCENARIO.to_owned()).unwrap_or_else(|error| panic!("{error}"));
    let cells = loaded.cells(&Overrides { set, ..Overrides::default() }).unwrap_or_else(|error| panic!("{error}"));
    cells[0].plan(Seed(1), 0).unwrap_or_else(|error| panic!("{error}"))
}

/// Returns the constant delay of the path between two hosts, by their names, in ms.
fn delay(plan: &Plan, from: &str, to: &str) -> f64 {
    let id = |name: &str| HostId(plan.hosts.iter().position(|host| host.name == name).expect(name) as u32);
    match plan.network.link(id(from), id(to)).delay {
        Distribution::Constant(delay) => delay.as_millis_f64(),
        ref other => panic!("{other:?} is not constant"),
    }
}

#[test]
fn hosts_take_the_sites_in_turn() {
    let plan = plan(&[]);
    let sites = |group: &str| {
        let hosts = plan.hosts.iter().filter(|host| host.name.starts_with(group));
        hosts.map(|host| host.site.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(sites("gpu"), ["Tokyo", "London", "Oregon", "Tokyo", "London", "Oregon", "Tokyo"]);
    let clients = sites("client");
    assert_eq!((clients.len(), clients[0], clients[10], clients[11]), (13, "Oregon", "London", "Oregon"));
    assert_eq!(clients.iter().filter(|site| **site == "Virginia").count(), 2);
}

#[test]
fn the_plan_has_a_link_for_each_pair_of_sites_and_none_for_pairs_of_groups() {
    let plan = plan(&[]);
    let SiteTable { names, of, links } = &plan.network.sites;
    assert_eq!((names.len(), links.len(), of.len()), (12, 144, plan.hosts.len()));
    assert!(plan.hosts.iter().zip(of).all(|(host, site)| host.site == names[*site as usize]));
    assert_eq!(plan.network.between, []);
    assert_eq!(delay(&plan, "gpu[0]", "gpu[1]"), 117.0);
    assert_eq!(delay(&plan, "gpu[3]", "extra"), 117.0);
    assert_eq!(delay(&plan, "extra", "client[11]"), 70.5, "London and Oregon");
    assert_eq!(delay(&plan, "gpu[0]", "gpu[3]"), 1.0, "the default, where the round trip within a site is unknown");
    assert_eq!(delay(&plan, "orchestrator", "gpu[0]"), 1.0);
    let every = plan.network.sites.links.iter().all(|link| link.bandwidth == Some(125e6));
    assert!(every, "the rest of a link is the default's");
}

/// Paths between two sites have the same link whether groups are spread over several sites or each is on one site.
#[test]
fn spread_hosts_have_the_links_of_hosts_of_one_site() {
    let spread = plan(&[]);
    let apart = plan(&[
        ("hosts.0.sites", "None"),
        ("hosts.0.site", "Tokyo"),
        ("hosts.2.sites", "None"),
        ("hosts.2.site", "Virginia"),
    ]);
    assert_eq!(apart.network.sites, SiteTable::default());
    assert!(!apart.network.between.is_empty());
    for (from, to) in [("gpu[0]", "extra"), ("extra", "gpu[0]"), ("gpu[0]", "client[1]"), ("client[1]", "extra")] {
        assert_eq!(delay(&spread, from, to), delay(&apart, from, to), "{from} to {to}");
    }
}

#[test]
fn the_name_of_a_site_means_its_hosts_of_all_groups() {
    let links = r#"[
        Between(from: "Tokyo", to: "London", both: true, delay: "5 ms"),
        Between(from: "gpu", to: "client", delay: "7 ms"),
        Between(from: "gpu[1]", to: "Tokyo", delay: "9 ms"),
    ]"#;
    let events = r#"[
        Stall(on: "London", at: "1 s", for: "1 s"),
        Partition(groups: [["Tokyo"], ["London", "Oregon"]], at: "2 s", for: "1 s"),
    ]"#;
    let plan = plan(&[("network.links", links), ("events", events)]);
    assert_eq!(plan.hosts[1].site, "Tokyo");
    assert_eq!(delay(&plan, "gpu[6]", "extra"), 5.0);
    assert_eq!(delay(&plan, "client[10]", "gpu[3]"), 5.0, "client[10] is in London");
    assert_eq!(delay(&plan, "gpu[4]", "gpu[3]"), 5.0);
    assert_eq!(delay(&plan, "gpu[1]", "gpu[3]"), 9.0, "a later entry decides");
    assert_eq!(delay(&plan, "gpu[1]", "gpu[2]"), 70.5, "an entry for Tokyo is not for Oregon");
    assert_eq!((delay(&plan, "gpu[2]", "client[4]"), delay(&plan, "client[4]", "gpu[2]")), (7.0, 82.5));

    let name = |host: &HostId| plan.hosts[host.0 as usize].name.clone();
    let stalled = plan.faults.iter().filter_map(|fault| match fault.what {
        What::Stall { host, .. } => Some(name(&host)),
        _ => None,
    });
    assert_eq!(stalled.collect::<Vec<_>>(), ["gpu[1]", "gpu[4]", "extra", "client[10]"]);
    let sides = plan.faults.iter().find_map(|fault| match &fault.what {
        What::Partition { groups, .. } => Some(groups.iter().map(|side| side.iter().map(name).collect()).collect()),
        _ => None,
    });
    let sides: Vec<Vec<String>> = sides.expect("a partition");
    assert_eq!(sides[0], ["gpu[0]", "gpu[3]", "gpu[6]", "client[6]"]);
    assert_eq!(sides[1], ["gpu[1]", "gpu[2]", "gpu[4]", "gpu[5]", "extra", "client[0]", "client[10]", "client[11]"]);
}

#[test]
fn sites_without_round_trips_are_names_for_links_and_events() {
    let links = r#"[Between(from: "Tokyo", to: "London", delay: "5 ms")]"#;
    let plan = plan(&[("network.rtt", "Off"), ("hosts.2.sites", "[\"b\", \"a\"]"), ("network.links", links)]);
    assert_eq!(plan.network.sites, SiteTable::default());
    assert_eq!((delay(&plan, "gpu[3]", "gpu[4]"), delay(&plan, "gpu[4]", "gpu[3]")), (5.0, 1.0));
    assert_eq!(plan.hosts[9].site, "b");
}

/// A plan in which no host group has several sites is written without a table of sites, as in earlier versions, and can
/// be read again.
#[test]
fn a_plan_without_spread_hosts_is_the_text_that_it_was() {
    let apart = plan(&[("hosts.0.sites", "None"), ("hosts.2.sites", "None"), ("network.rtt", "Off")]);
    let text = apart.to_ron().expect("it is printed");
    assert!(!text.contains("sites:") && !text.contains("step:"), "{text}");
    assert_eq!(Plan::from_ron(&text).expect("it is read"), apart);
    let spread = plan(&[("network.links", r#"[Between(from: "Tokyo", to: "London")]"#)]);
    let text = spread.to_ron().expect("it is printed");
    assert!(text.contains("sites:") && text.contains("step: 3"));
    assert_eq!(Plan::from_ron(&text).expect("it is read"), spread);
}

/// A live host receives its plan in a binary format that has no names of fields.
#[test]
fn a_network_is_the_same_after_a_format_without_names() {
    let hosts = Hosts { first: HostId(1), last: HostId(7), step: 3 };
    assert_eq!((hosts.count(), hosts.ids().map(|host| host.0).collect()), (3, vec![1, 4, 7]));
    assert!(hosts.holds(HostId(4)) && !hosts.holds(HostId(5)) && !hosts.holds(HostId(10)));
    let link = Link::new(Distribution::Constant(Duration::from_millis(3)), Some(1e6));
    let entry = Between { from: hosts, to: Hosts::only(HostId(2)), link: link.clone() };
    let table = SiteTable { names: vec!["a".to_owned()], of: vec![0, 0], links: vec![link.clone()] };
    for (sites, between) in [
        (SiteTable::default(), vec![]),
        (table.clone(), vec![]),
        (SiteTable::default(), vec![entry.clone()]),
        (table, vec![entry]),
    ] {
        let network = Network { sites, between, ..Network::of(link.clone()) };
        let bytes = postcard::to_stdvec(&network).expect("it is written");
        assert_eq!(postcard::from_bytes::<Network>(&bytes).expect("it is read"), network);
    }
}

#[test]
fn wrong_sites_are_refused_where_they_are_written() {
    let line = SCENARIO.lines().position(|line| line.contains("\"gpu\", count")).expect("a line") + 1;
    let columns: BTreeMap<&str, usize> = BTreeMap::from([("list", 44), ("second", 54)]);
    for (sites, at, message, help) in [
        (
            "[\"Tokyo\", \"Londn\"]",
            "second",
            "the site `Londn` of the host `gpu` is not in `aws-2019`",
            "did you mean `London`?",
        ),
        (
            "[\"Tokyo\", \"Tokyo\"]",
            "second",
            "the site `Tokyo` is listed twice",
            "the sites are assigned in turn: make another group for a site with more hosts",
        ),
        ("[]", "list", "the list of sites of the hosts `gpu` is empty", "list at least one site, or leave `sites` out"),
        (
            "All, site: \"Tokyo\"",
            "list",
            "the hosts `gpu` have a `site` and `sites`",
            "leave one of the two out: `site` is for all hosts, `sites` are assigned in turn",
        ),
    ] {
        let text = SCENARIO.replacen(r#"["Tokyo", "London", "Oregon"]"#, sites, 1);
        let refused = Loaded::read("spread.ron", text).and_then(|loaded| loaded.check(&Overrides::default()));
        let error = refused.expect_err(sites);
        assert_eq!(error.to_string(), format!("spread.ron:{line}:{}: {message}", columns[at]));
        assert_eq!(miette::Diagnostic::help(&error).map(|help| help.to_string()).as_deref(), Some(help));
    }
    let off = SCENARIO.replace("Regions(\"aws-2019\")", "Off");
    let error = Loaded::read("spread.ron", off).and_then(|loaded| loaded.check(&Overrides::default()));
    let error = error.expect_err("no table names the sites").to_string();
    assert!(error.starts_with("spread.ron:9:37: `sites: All` means the sites of `network.rtt`"), "{error}");
    let wrong = SCENARIO.replacen("sites: All", "sites: 3", 1);
    let error = Loaded::read("spread.ron", wrong).map(|_| ()).expect_err("not a list").to_string();
    assert!(error.contains("sites are a list of names"), "{error}");
}
