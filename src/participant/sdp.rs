//! What this module reads out of SDP, and the few lines that it changes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::rtp::codec::Codec;
use super::snapshot::TrackKind;

/// Streams and sections kept of one description; more is no room that anyone joins.
const MAX_STREAMS: usize = 1_024;

/// What a description says about RTP, over all of its media sections: they are bundled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// By SSRC.
    pub streams: BTreeMap<u32, StreamInfo>,
    /// By payload type.
    pub payloads: BTreeMap<u8, Payload>,
    /// By mid, in order.
    pub sections: BTreeMap<String, Section>,
    /// Bandwidth estimates of the receiver were negotiated (`goog-remb`).
    pub remb: bool,
}

/// A stream as announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// Audio or video.
    pub kind: TrackKind,
    /// LiveKit's track id.
    pub track: Arc<str>,
    /// The stream that this one retransmits.
    pub repairs: Option<u32>,
    /// Another one retransmits it.
    pub has_repairs: bool,
}

/// A payload type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// What it carries.
    pub codec: Codec,
    /// Timestamp units per second.
    pub clock_rate: u32,
    /// Generic NACKs were negotiated.
    pub nack: bool,
    /// For [`Codec::Rtx`]: the payload type that it retransmits.
    pub apt: Option<u8>,
}

/// A media section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// Payload types in order of preference.
    pub payloads: Vec<u8>,
    /// Header extensions: URI to id.
    pub extensions: BTreeMap<String, u8>,
}

/// `a=mid` in each packet (RFC 9143).
pub const EXT_MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
/// The simulcast layer (RFC 8852).
pub const EXT_RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
/// The simulcast layer that a retransmission repairs (RFC 8852).
pub const EXT_REPAIRED_RID: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";
/// When the packet left, in 2⁻¹⁸ s of 64 s.
pub const EXT_ABS_SEND_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";
/// The transport-wide sequence number.
pub const EXT_TRANSPORT_CC: &str =
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
/// The audio level (RFC 6464).
pub const EXT_AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";

impl Description {
    /// Reads a description. Lines that make no sense are skipped: str0m judges the whole.
    ///
    /// `mid_to_track` is LiveKit's own map, which outranks `msid`: a media section is used again
    /// for another track.
    pub fn parse(sdp: &str, mid_to_track: &HashMap<String, String>) -> Self {
        let mut description = Description::default();
        for section in sections(sdp).skip(1) {
            description.read_section(section, mid_to_track);
        }
        description
    }

    fn read_section(&mut self, lines: &str, mid_to_track: &HashMap<String, String>) {
        let attributes = || {
            lines
                .lines()
                .filter_map(|l| l.trim_end().strip_prefix("a="))
        };
        let mut words = lines.lines().next().unwrap_or_default().split(' ');
        let kind = match words.next() {
            Some("m=audio") => TrackKind::Audio,
            Some("m=video") => TrackKind::Video,
            _ => return,
        };
        let mut section = Section {
            payloads: words
                .skip(2)
                .filter_map(|w| w.trim().parse().ok())
                .take(PAYLOADS_MAX)
                .collect(),
            extensions: BTreeMap::new(),
        };
        let mut mid = "";
        for attribute in attributes() {
            let Some((name, value)) = attribute.split_once(':') else {
                continue;
            };
            match name {
                "mid" => mid = value,
                "rtpmap" => self.read_rtpmap(value),
                "extmap" => {
                    if let Some((id, uri)) = value.split_once(' ')
                        && let Ok(id) = id.split('/').next().unwrap_or_default().parse()
                    {
                        section.extensions.insert(uri.trim().to_owned(), id);
                    }
                }
                _ => {}
            }
        }
        for attribute in attributes() {
            match attribute.split_once(':') {
                Some(("rtcp-fb", value)) => self.read_feedback(value, &section),
                Some(("fmtp", value)) => self.read_apt(value),
                Some(("ssrc", value)) => {
                    self.read_ssrc(value, kind, mid_to_track.get(mid).map(String::as_str));
                }
                _ => {}
            }
        }
        for attribute in attributes() {
            if let Some(group) = attribute.strip_prefix("ssrc-group:FID ") {
                let mut ssrcs = group.split(' ').filter_map(|s| s.parse::<u32>().ok());
                if let (Some(primary), Some(repair)) = (ssrcs.next(), ssrcs.next())
                    && let Some(stream) = self.streams.get_mut(&repair)
                {
                    stream.repairs = Some(primary);
                    if let Some(repaired) = self.streams.get_mut(&primary) {
                        repaired.has_repairs = true;
                    }
                }
            }
        }
        if self.sections.len() < MAX_STREAMS || self.sections.contains_key(mid) {
            self.sections.insert(mid.to_owned(), section);
        }
    }

    fn read_rtpmap(&mut self, value: &str) {
        let mut parts = value.split([' ', '/']);
        if let (Some(Ok(id)), Some(name), Some(Ok(clock_rate))) = (
            parts.next().map(str::parse::<u8>),
            parts.next(),
            parts.next().map(str::parse::<u32>),
        ) && clock_rate > 0
        {
            self.payloads.insert(
                id,
                Payload {
                    codec: Codec::of(name),
                    clock_rate,
                    nack: false,
                    apt: None,
                },
            );
        }
    }

    fn read_feedback(&mut self, value: &str, section: &Section) {
        let id = match value.trim_end().split_once(' ') {
            Some((id, "nack")) => id,
            Some((_, "goog-remb")) => {
                self.remb = true;
                return;
            }
            _ => return,
        };
        if id == "*" {
            for payload in &section.payloads {
                if let Some(known) = self.payloads.get_mut(payload) {
                    known.nack = true;
                }
            }
        } else if let Ok(id) = id.parse()
            && let Some(known) = self.payloads.get_mut(&id)
        {
            known.nack = true;
        }
    }

    fn read_apt(&mut self, value: &str) {
        if let Some((id, parameters)) = value.split_once(' ')
            && let Ok(id) = id.parse::<u8>()
            && let Some(payload) = self.payloads.get_mut(&id)
        {
            payload.apt = parameters
                .split(';')
                .filter_map(|p| p.trim().strip_prefix("apt="))
                .find_map(|apt| apt.parse().ok());
        }
    }

    fn read_ssrc(&mut self, value: &str, kind: TrackKind, by_mid: Option<&str>) {
        let Some((ssrc, attribute)) = value.split_once(' ') else {
            return;
        };
        let Ok(ssrc) = ssrc.parse::<u32>() else {
            return;
        };
        let known = self.streams.contains_key(&ssrc);
        if !known && self.streams.len() >= MAX_STREAMS {
            return;
        }
        let by_msid = attribute
            .strip_prefix("msid:")
            .and_then(|msid| msid.split(' ').nth(1));
        if let Some(track) = by_mid.or(by_msid)
            && !known
        {
            self.streams.insert(
                ssrc,
                StreamInfo {
                    kind,
                    track: track.into(),
                    repairs: None,
                    has_repairs: false,
                },
            );
        }
    }

    /// The payload type of a codec in a section, with the one for its retransmissions.
    pub fn payload_of(&self, section: &Section, codec: Codec) -> Option<(u8, Option<u8>)> {
        let of = |id: &u8| self.payloads.get(id);
        let primary = section
            .payloads
            .iter()
            .copied()
            .find(|id| of(id).is_some_and(|p| p.codec == codec))?;
        let repair = section
            .payloads
            .iter()
            .copied()
            .find(|id| of(id).is_some_and(|p| p.codec == Codec::Rtx && p.apt == Some(primary)));
        Some((primary, repair))
    }
}

/// The session's part, then each media section.
fn sections(sdp: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(sdp);
    std::iter::from_fn(move || {
        let text = rest?;
        // A section starts at each `m=` that begins a line.
        let next = text.match_indices("\nm=").map(|(at, _)| at + 1).next();
        let (section, after) = match next.and_then(|at| text.split_at_checked(at)) {
            Some((section, after)) => (section, Some(after)),
            None => (text, None),
        };
        rest = after;
        Some(section)
    })
}

/// The longest description, in bytes: a room of 1,000 tracks comes to half of it.
const SDP_LEN: usize = 4 * 1_024 * 1_024;
/// Media sections of a description: one for each of more tracks than a room shows at once. What is
/// done for each looks at all the others.
const SECTIONS_MAX: usize = 2_048;
/// Payload types have seven bits.
const PAYLOADS_MAX: usize = 128;
/// Candidates that are tried per connection; LiveKit has a handful.
pub const CANDIDATES_MAX: usize = 64;
/// The longest candidate, in bytes.
pub const CANDIDATE_LEN: usize = 1_024;

/// An offer as str0m is to see it. The server offers `sendrecv`, for which str0m would build
/// senders; and it would keep receivers, with timers, for streams that never reach it. Feedback on
/// each packet's arrival (transport-cc) isn't sent here, so it isn't agreed to.
///
/// # Errors
/// When it is too long to be one.
pub fn narrow_offer(sdp: &str) -> Result<String, String> {
    narrow(sdp, |line| match line {
        line if line.starts_with("a=ssrc") => None,
        line if line.starts_with("a=rtcp-fb:") && line.trim_end().ends_with(" transport-cc") => {
            None
        }
        line if line.starts_with("a=extmap:") && line.contains(EXT_TRANSPORT_CC) => None,
        "a=sendrecv" => Some("a=sendonly"),
        line => Some(line),
    })
}

/// An answer as str0m is to see it.
///
/// # Errors
/// When it is too long to be one.
pub fn narrow_answer(sdp: &str) -> Result<String, String> {
    const fn all(line: &str) -> Option<&str> {
        Some(line)
    }
    narrow(sdp, all)
}

/// The lines that `keep` keeps, with no more candidates than are tried.
fn narrow(sdp: &str, keep: impl Fn(&str) -> Option<&str>) -> Result<String, String> {
    if sdp.len() > SDP_LEN {
        return Err(format!(
            "its {} bytes are more than any room needs",
            sdp.len()
        ));
    }
    let mut out = String::with_capacity(sdp.len());
    let (mut candidates, mut sections) = (0, 0);
    for line in sdp.lines().filter_map(keep) {
        sections += usize::from(line.starts_with("m="));
        if sections > SECTIONS_MAX {
            return Err(format!(
                "its media sections are more than the {SECTIONS_MAX} that any room needs"
            ));
        }
        if line.starts_with("a=candidate") {
            candidates += 1;
            if candidates > CANDIDATES_MAX || line.len() > CANDIDATE_LEN {
                continue;
            }
        }
        out.push_str(line);
        out.push_str("\r\n");
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:0\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96 97 98\r\na=mid:1\r\na=sendrecv\r\n\
        a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 goog-remb\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\n\
        a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=rtpmap:98 H264/90000\r\n\
        a=extmap:4/sendonly urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
        a=ssrc-group:FID 11 12\r\na=ssrc:11 cname:x\r\na=ssrc:11 msid:PA_a TR_v\r\na=ssrc:12 msid:PA_a TR_v\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:2\r\na=rtpmap:111 opus/48000/2\r\na=ssrc:13 msid:PA_a TR_stale\r\n";

    fn parsed() -> Description {
        let map = HashMap::from([("2".to_owned(), "TR_a".to_owned())]);
        Description::parse(OFFER, &map)
    }

    #[test]
    fn an_offer_tells_streams_and_payloads() {
        let d = parsed();
        assert_eq!(&*d.streams[&11].track, "TR_v");
        assert_eq!(d.streams[&12].repairs, Some(11));
        assert_eq!(d.streams[&13].kind, TrackKind::Audio);
        assert_eq!(d.payloads[&111].clock_rate, 48_000);
        assert!(d.payloads[&96].nack && !d.payloads[&98].nack);
        assert_eq!(
            d.payload_of(&d.sections["1"], Codec::Vp8),
            Some((96, Some(97)))
        );
        assert_eq!(
            d.payload_of(&d.sections["1"], Codec::H264),
            Some((98, None))
        );
        assert_eq!(d.sections["1"].extensions[EXT_MID], 4);
    }

    #[test]
    fn the_servers_map_outranks_a_stale_msid() {
        assert_eq!(&*parsed().streams[&13].track, "TR_a");
    }

    #[test]
    fn narrowing_leaves_str0m_neither_senders_nor_streams() {
        let narrow = narrow_offer(OFFER).unwrap();
        assert!(!narrow.contains("sendrecv") && !narrow.contains("a=ssrc"));
        assert!(narrow.contains("a=sendonly\r\n"));
    }

    #[test]
    fn feedback_that_is_not_sent_is_not_agreed_to() {
        let feedback = format!("a=rtcp-fb:96 transport-cc\r\na=extmap:5 {EXT_TRANSPORT_CC}\r\n");
        let offer = format!("{OFFER}{feedback}");
        assert_eq!(narrow_offer(&offer), narrow_offer(OFFER));
        assert!(narrow_offer(OFFER).unwrap().contains("goog-remb"));
    }

    #[test]
    fn a_description_is_as_long_as_a_room_needs_and_has_a_few_candidates() {
        let long = "a=x\r\n".repeat(SDP_LEN / 5 + 1);
        assert!(narrow_offer(&long).is_err() && narrow_answer(&long).is_err());
        let sections = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n";
        assert!(narrow_offer(&sections.repeat(SECTIONS_MAX)).is_ok());
        let refused = narrow_offer(&sections.repeat(SECTIONS_MAX + 1));
        assert!(refused.is_err_and(|why| why.contains("2048")));
        let candidate = "a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n";
        let narrow = narrow_answer(&candidate.repeat(10_000)).unwrap();
        assert_eq!(narrow.lines().count(), CANDIDATES_MAX);
    }

    #[test]
    fn thousands_of_streams_and_sections_are_cut_off() {
        let mut sdp = String::from("v=0\r\n");
        for n in 0..20_000 {
            sdp.push_str(&format!(
                "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:{n}\r\na=rtpmap:111 opus/48000/2\r\n\
                 a=ssrc:{n} msid:PA TR_{n}\r\n"
            ));
        }
        let description = Description::parse(&sdp, &HashMap::new());
        assert_eq!(description.streams.len(), MAX_STREAMS);
        assert_eq!(description.sections.len(), MAX_STREAMS);
        let payloads = " 111".repeat(100_000);
        let sdp = format!("v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF{payloads}\r\na=mid:0\r\n");
        let description = Description::parse(&sdp, &HashMap::new());
        assert_eq!(description.sections["0"].payloads.len(), PAYLOADS_MAX);
    }

    proptest! {
        #[test]
        fn anything_parses_without_a_panic(sdp in "(m=(audio|video) 9 x 96 97\n|a=(mid|rtpmap|rtcp-fb|extmap|ssrc|fmtp|ssrc-group:FID)[: /=]{0,2}[0-9 a-z:/=*]{0,20}\n|.{0,10}\n){0,30}") {
            let _ = Description::parse(&sdp, &HashMap::new());
            let _ = narrow_offer(&sdp);
        }
    }
}
