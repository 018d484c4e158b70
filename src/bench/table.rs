//! The comparison as text.

use super::density::{Conditions, Density, Figures};
use crate::render::table::{paragraph, table};

/// A table, how muster stands to the others, and the conditions.
pub fn text(density: &Density) -> String {
    let heads = [
        "",
        "packets/s",
        "CPU us/packet",
        "kB/participant",
        "joins/s",
        "loss %",
        "own drops",
    ];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    let mut notes = Vec::new();
    for contender in &density.contenders {
        match (&contender.figures, &contender.not_run) {
            (Some(figures), _) => rows.push(row(contender.name, figures)),
            (None, why) => notes.push(format!(
                "{} was not measured: {}\n",
                contender.name,
                why.as_deref().unwrap_or("for no known reason")
            )),
        }
    }
    if let Some(publishing) = &density.publishers {
        rows.push(vec![
            "publishers (sent)".to_owned(),
            number(publishing.packets_per_second, 0),
            number(publishing.cpu_us_per_packet, 1),
        ]);
    }
    let mut out = table(&rows);
    out.push('\n');
    for other in ["lk", "floor"] {
        if let Some(ratio) = ratio(density, other) {
            out.push_str(&format!(
                "muster's CPU per received packet is {ratio:.2} of {other}'s\n"
            ));
        }
    }
    notes.iter().for_each(|note| out.push_str(note));
    out.push('\n');
    out.push_str(&paragraph(
        "Conditions: ",
        12,
        &conditions(&density.conditions),
    ));
    out
}

/// muster's CPU per packet, divided by another's.
fn ratio(density: &Density, other: &str) -> Option<f64> {
    let of = |name| {
        let contender = density.contenders.iter().find(|c| c.name == name)?;
        contender.figures.map(|figures| figures.cpu_us_per_packet)
    };
    Some(of("muster")? / of(other).filter(|cost| *cost > 0.0)?)
}

fn row(name: &str, figures: &Figures) -> Vec<String> {
    let or_dash = |value: Option<f64>, digits| {
        value.map_or_else(|| "-".to_owned(), |value| number(value, digits))
    };
    vec![
        name.to_owned(),
        number(figures.packets_per_second, 0),
        number(figures.cpu_us_per_packet, 1),
        or_dash(figures.bytes_per_participant.map(|bytes| bytes / 1e3), 0),
        or_dash(figures.joins_per_second, 1),
        or_dash(figures.lost_percent, 3),
        figures.own_drops.to_string(),
    ]
}

fn number(value: f64, digits: usize) -> String {
    format!("{value:.digits$}")
}

fn conditions(c: &Conditions) -> String {
    let named = |name: &str, version: &Option<String>| match version {
        Some(version) => format!(", {version}"),
        None => format!(", {name} of unknown version"),
    };
    let lk = c.lk.as_ref().map_or_else(String::new, |v| format!(", {v}"));
    format!(
        "muster {}{}{lk}; {} processors for server, publishers and contender together, on loopback; \
         {} publishers of Opus and VP8 in three layers; {} subscribers each with the layout \
         `speaker`, asked to join at {} a second; {} s of steady state, from {} s after the last join. CPU and memory are of the \
         contender's process, by /proc. lk's packets are those that the server counts as sent, \
         others count their own. Own drops are the kernel's count of datagrams that found the \
         contender's receive buffer full. The floor has muster's sockets, tick and recvmmsg, and \
         only decrypts.",
        c.muster,
        named("livekit-server", &c.livekit_server),
        c.processors,
        c.publishers,
        c.subscribers,
        c.join_rate,
        c.seconds,
        c.warm_up_seconds
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::density::{Contender, Publishing};

    fn density() -> Density {
        let contender = |name, cost: Option<f64>| Contender {
            name,
            figures: cost.map(|cpu_us_per_packet| Figures {
                packets_per_second: 10_000.0,
                cpu_us_per_packet,
                lost_percent: Some(0.0),
                ..Figures::default()
            }),
            not_run: cost
                .is_none()
                .then(|| "there is no `lk` on PATH".to_owned()),
        };
        Density {
            conditions: Conditions {
                muster: "0.1.0".into(),
                livekit_server: None,
                lk: None,
                processors: 2.0,
                publishers: 2,
                subscribers: 40,
                warm_up_seconds: 7,
                seconds: 20.0,
                join_rate: 50,
            },
            contenders: vec![
                contender("muster", Some(5.0)),
                contender("lk", None),
                contender("floor", Some(4.0)),
            ],
            publishers: Some(Publishing {
                packets_per_second: 1_000.0,
                cpu_us_per_packet: 9.0,
                pacing_lag_us: 5_000,
            }),
        }
    }

    #[test]
    fn who_could_not_run_says_so_and_has_no_figures() {
        let text = text(&density());
        assert!(
            text.contains("lk was not measured: there is no `lk` on PATH"),
            "{text}"
        );
        assert!(!text.lines().any(|line| line.starts_with("lk  ")), "{text}");
        assert!(text.contains("is 1.25 of floor's"), "{text}");
        assert!(!text.contains("of lk's\n"), "{text}");
    }

    #[test]
    fn what_a_contender_does_not_have_is_a_dash() {
        let text = text(&density());
        let floor = text.lines().find(|line| line.starts_with("floor")).unwrap();
        assert_eq!(floor.matches('-').count(), 2, "{floor}");
    }
}
