//! The comparison as text.

use super::density::{Conditions, Contender, Density, Figures, Row};
use crate::render::table::table;

/// The tables, and how muster stands to the others.
pub fn text(density: &Density) -> String {
    let heads = [
        "",
        "publishers",
        "packets/s",
        "CPU us/packet",
        "of lk's",
        "of floor's",
        "joins/s",
        "loss %",
        "whose loss",
    ];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    let mut notes = Vec::new();
    for row in &density.rows {
        let at = format!("with {} publishers", row.publishers);
        for contender in &row.contenders {
            match &contender.figures {
                Some(figures) => rows.push(cells(row, contender.name, figures)),
                None => notes.push(not_run(contender, &at)),
            }
        }
    }
    let mut out = table(&rows);
    out.push('\n');
    for contender in &density.memory {
        match contender.figures {
            Some(memory) => out.push_str(&format!(
                "{}: {} kB resident per subscriber with two tracks\n",
                contender.name,
                number(memory.bytes_per_subscriber / 1e3, 0)
            )),
            None => notes.push(not_run(contender, "for its memory")),
        }
    }
    match &density.publishing.figures {
        Some(sent) => out.push_str(&format!(
            "muster: {} publishers send {} packets/s at {} us of CPU each{}{}; a packet leaves {} ms \
             after it is due on average, {} ms at the latest\n",
            sent.publishers,
            number(sent.packets_per_second, 0),
            number(sent.cpu_us_per_packet, 1),
            density.sending_ratio().map_or_else(String::new, |ratio| {
                format!(", {} times a received one's", number(ratio, 2))
            }),
            spread(&density.sending_ratios()),
            number(sent.pacing_lag_mean_us / 1e3, 2),
            number(sent.pacing_lag_max_us as f64 / 1e3, 1),
        )),
        None => notes.push(not_run(&density.publishing, "publishing")),
    }
    notes.iter().for_each(|note| out.push_str(note));
    out
}

fn not_run<T>(contender: &Contender<T>, at: &str) -> String {
    let why = contender
        .not_run
        .as_deref()
        .unwrap_or("for no known reason");
    format!("{} was not measured {at}: {why}\n", contender.name)
}

fn cells(row: &Row, name: &str, figures: &Figures) -> Vec<String> {
    let or_dash = |value: Option<f64>, digits| {
        value.map_or_else(|| "-".to_owned(), |value| number(value, digits))
    };
    let ratio = |other| {
        let own = (name == "muster").then(|| row.ratio(other)).flatten();
        own.map_or_else(
            || or_dash(None, 0),
            |own| number(own, 3) + &spread(&row.ratios(other)),
        )
    };
    vec![
        name.to_owned(),
        row.publishers.to_string(),
        number(figures.packets_per_second, 0),
        number(figures.cpu_us_per_packet, 2),
        ratio("lk"),
        ratio("floor"),
        or_dash(figures.joins_per_second, 1),
        or_dash(figures.lost_percent, 3),
        whose(figures),
    ]
}

/// What each round had, in parentheses; nothing where there was but one.
fn spread(rounds: &[f64]) -> String {
    if rounds.len() < 2 {
        return String::new();
    }
    let each: Vec<String> = rounds.iter().map(|round| number(*round, 3)).collect();
    format!(" ({})", each.join(", "))
}

/// Whose the loss was that a contender reports. Where it doesn't say, the kernel's count of drops is
/// the most that can be its own: it may have been repaired, or no packet at all.
fn whose(figures: &Figures) -> String {
    let drops = figures.own_drops;
    let Some(lost) = figures.lost else {
        return match drops {
            0 => "-".to_owned(),
            _ => format!("not counted, {drops} dropped"),
        };
    };
    match figures.lost_own {
        _ if lost == 0 => "none".to_owned(),
        None if drops == 0 => format!("{lost} on the way"),
        None => format!("{lost}, up to {} its own", drops.min(lost)),
        Some(0) => format!("{lost} on the way"),
        Some(own) => format!("{own} its own, {} on the way", lost.saturating_sub(own)),
    }
}

fn number(value: f64, digits: usize) -> String {
    format!("{value:.digits$}")
}

/// How many packets the floor got of what muster got, in words.
fn floor_packets(rows: &[Row]) -> String {
    let shares = rows.iter().filter_map(|row| {
        let percent = number(row.packets_share("floor")? * 100.0, 1);
        Some(format!("{percent} % with {} publishers", row.publishers))
    });
    let shares = shares.collect::<Vec<_>>().join(", ");
    match shares.as_str() {
        "" => String::new(),
        _ => format!(", and got of muster's packets {shares}"),
    }
}

/// Under which conditions the figures were had.
pub fn conditions(density: &Density) -> String {
    let Conditions {
        machine,
        lk_on_path,
        lk,
        subscribers,
        memory_subscribers,
        warm_up_seconds,
        rounds,
        seconds,
        join_rate,
    } = &density.conditions;
    let lk = match lk {
        Some(version) => format!(" {version}."),
        None if *lk_on_path => " lk of unknown version.".to_owned(),
        None => " There is no `lk` on PATH: how muster stands to it is not known.".to_owned(),
    };
    format!(
        "{}{lk} Publishers send Opus and VP8 in three layers; {subscribers} subscribers take the \
         layout `speaker`, asked to join at {join_rate} a second; in each of {rounds} rounds \
         {seconds} s of steady state, from {warm_up_seconds} s after the last join, every other \
         round backwards; figures are of all rounds together, in parentheses each round's. Memory is of {memory_subscribers} \
         subscribers of one publisher, less that of none. CPU and memory are of the contender's \
         process, by /proc. lk's packets are those that the server counts as sent, others count \
         their own. muster tells of each lost packet whether it died in \
         its own receive buffer; of lk only the datagrams are known that the kernel dropped there, \
         repaired ones included: up to as many of its losses are its own. The floor joins as muster does and takes the same \
         by the same sockets, tick and recvmmsg, but only decrypts it; its CPU is of the thread that \
         does. It sends no receiver reports and \
         no bandwidth estimates{}. Who has a \
         tenth more or fewer packets than muster is measured again.",
        machine.text(),
        floor_packets(&density.rows),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::density::{Memory, Publishing};

    fn density() -> Density {
        let contender = |name, cost: Option<f64>| Contender {
            name,
            figures: cost.map(|cpu_us_per_packet| Figures {
                packets_per_second: 10_000.0,
                cpu_us_per_packet,
                rounds: vec![cpu_us_per_packet - 0.5, cpu_us_per_packet + 0.5],
                lost: Some(0),
                lost_percent: Some(0.0),
                ..Figures::default()
            }),
            not_run: cost
                .is_none()
                .then(|| "there is no `lk` on PATH".to_owned()),
        };
        Density {
            conditions: Conditions::default(),
            rows: vec![Row {
                publishers: 2,
                contenders: vec![
                    contender("muster", Some(5.0)),
                    contender("lk", None),
                    contender("floor", Some(4.0)),
                ],
            }],
            memory: vec![Contender::new(
                "muster",
                Ok(Memory {
                    bytes_per_subscriber: 199_600.0,
                }),
            )],
            publishing: Contender::new(
                "muster",
                Ok(Publishing {
                    publishers: 30,
                    packets_per_second: 9_750.0,
                    cpu_us_per_packet: 9.0,
                    rounds: vec![9.0, 9.0],
                    pacing_lag_mean_us: 700.0,
                    pacing_lag_max_us: 2_100,
                }),
            ),
            bounds: Vec::new(),
            findings: Vec::new(),
        }
    }

    #[test]
    fn who_could_not_run_says_so_and_has_no_figures() {
        let text = text(&density());
        assert!(
            text.contains("lk was not measured with 2 publishers: there is no `lk` on PATH"),
            "{text}"
        );
        assert!(!text.lines().any(|line| line.starts_with("lk  ")), "{text}");
        assert!(
            text.contains("9.0 us of CPU each, 1.80 times a received one's (2.000, 1.636);"),
            "{text}"
        );
        assert!(text.contains("200 kB resident per subscriber"), "{text}");
    }

    #[test]
    fn muster_alone_is_held_against_the_others() {
        let text = text(&density());
        let line = |name| text.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(line("muster").contains("1.250 (1.286, 1.222)"), "{text}");
        assert_eq!(line("floor").matches(" -").count(), 3, "{text}");
    }

    #[test]
    fn the_conditions_say_how_many_packets_the_floor_got() {
        let mut density = density();
        if let Some(floor) = &mut density.rows[0].contenders[2].figures {
            floor.packets_per_second = 9_497.0;
        }
        let text = conditions(&density);
        assert!(
            text.contains("got of muster's packets 95.0 % with 2 publishers."),
            "{text}"
        );
        density.rows.clear();
        assert!(conditions(&density).contains("no bandwidth estimates. "));
    }

    #[test]
    fn a_loss_is_ones_own_as_far_as_one_knows() {
        for (lost, lost_own, own_drops, expected) in [
            (None, None, 0, "-"),
            (None, None, 7, "not counted, 7 dropped"),
            (Some(0), Some(0), 7, "none"),
            (Some(0), None, 7, "none"),
            (Some(5), Some(0), 0, "5 on the way"),
            // All that the kernel dropped was repaired.
            (Some(5), Some(0), 7, "5 on the way"),
            (Some(5), Some(3), 7, "3 its own, 2 on the way"),
            (Some(5), None, 0, "5 on the way"),
            (Some(5), None, 3, "5, up to 3 its own"),
            (Some(5), None, 7, "5, up to 5 its own"),
        ] {
            let figures = Figures {
                lost,
                lost_own,
                own_drops,
                ..Figures::default()
            };
            assert_eq!(whose(&figures), expected);
        }
    }
}
