//! Same scenario, same bytes: the hashes of whole files and message streams, and how they begin.
//!
//! A change to these constants is a change to every consumer's data, and belongs in the release
//! notes. A hash of messages is that of the text `key<TAB>value<LF>` for each, in order.

use std::fmt::Write;

use cdr_model::{LineEnd, Scenario, Stream};
use sha2::{Digest, Sha256};

use crate::{Fixture, prod};

const OTHER_SEED: u64 = 7;

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes every text");
        text
    })
}

fn check(scenario: Scenario, part: u64, expected: &str) {
    let fixture = Fixture::new(scenario);
    let mut actual = String::new();
    for stream in fixture.plan.streams() {
        let outputs = [
            ("csv lf", fixture.csv(stream, part, LineEnd::Lf)),
            ("csv crlf", fixture.csv(stream, part, LineEnd::CrLf)),
            ("messages", fixture.messages(stream, part)),
        ];
        for (kind, bytes) in outputs {
            writeln!(actual, "{} {stream} {kind}", hash(&bytes)).expect("a string takes every text");
        }
    }
    assert_eq!(actual.trim(), expected.trim(), "part {part}:\n{actual}");
}

fn with_seed(seed: u64, scenario: Scenario) -> Scenario {
    Scenario { seed, ..scenario }
}

#[test]
fn part_0_of_the_development_run() {
    check(
        Scenario::default(),
        0,
        "
2b3057d115caf7e273b025d419c1e37342da5914a57bbabc7e21499c1bf8758a cdr_data csv lf
43b3abced208a80b872e0ff8c45334933b39e6119034b4ff3b94d04fb5d01af0 cdr_data csv crlf
489c8a7e33795d0952a741f0fcfc7e4d45255b03df0c3757fd77a9deede20b7a cdr_data messages
4a2c77cc08efeab6c86b70f51758b4ed4619a75e686157062410cf78cd5e7371 cdr_voice csv lf
564f33ca99440763413d8ed7d6dd1625b12874e9a54d9adeb4072fe8cd6f3b1a cdr_voice csv crlf
26e94ec63aec6d40dbde5a50f4b98b13c3fdd9f353a9ddb48c3a42a0285cb951 cdr_voice messages
",
    );
}

#[test]
fn part_1_of_the_development_run() {
    check(
        Scenario::default(),
        1,
        "
5949fd37291c2ff99ed101942a4d6d6bad682f1e9849a26dfc6d610b51a29f7d cdr_data csv lf
a1539dad93712cfb5eabc647d1d32ded407f9498c875bb30f0399c71a992ad39 cdr_data csv crlf
51c58127a6a9c43048fb675662d4a370ba0ac975b68fe0a600d2f2459548bf16 cdr_data messages
3ca26426dd69998626e8e8681e9b28af6ff20325d6cdcc631bacd2c77f55d89e cdr_voice csv lf
bd1810b73f0e5914b3849f0382852bad5fb515d685de5bd4da070c442455c2b9 cdr_voice csv crlf
369e9a42707f2950104918cf5f18c2e24e86050e37d660bb53a1d5302d94e473 cdr_voice messages
",
    );
}

#[test]
fn part_85_of_the_development_run() {
    check(
        Scenario::default(),
        85,
        "
9893bc2d9bd1e00babae8a95fb7c2126a22df7afa6181b7c13614af15f7def19 cdr_data csv lf
9245b0159283aed7397d253b3c430530487439f8cbf19600ab7f0018aa56c358 cdr_data csv crlf
6171204fb945f42aabbd98948213a0c08adb47c70c174eb21a5ce70e4e82671a cdr_data messages
a80244f7e60fbd3d5178787aee41195188b87fe922c0c921fa62105225fd1867 cdr_voice csv lf
9b53feaed17cc4cdd77f167b07fa587ab209a7ad820c9c1b80daa24d97ec59d6 cdr_voice csv crlf
f916de8d9ab51d75a4c8b170d434f1f2c8a61c733c02fe40b77cf36210548e30 cdr_voice messages
",
    );
}

#[test]
fn part_863_of_the_production_run() {
    check(
        prod(),
        863,
        "
a1eb28948bfa6a1ac61af804d02dd52c8d6272d3c5592d7162795d078508e36e cdr_data csv lf
3f08e365bdf08b030e76ca7923ce7fad063e3c4dbaad1496403711e3a2b8676b cdr_data csv crlf
756d031032d47dad447ffa652c35bbc405e2e1e8a7cf40ecd562fc47db16f7cf cdr_data messages
03b77e63ac85877af9cc8f0fd75bcae2aaa271c296b1160709a830678a938974 cdr_voice csv lf
a68548b729ea8e47b782561891edfff4f843de196bdb00a8f44332b2b261ad97 cdr_voice csv crlf
d16f902a9c818f3e072a5112c627f5d85620004e9e63804725f611aa887b64bd cdr_voice messages
",
    );
}

#[test]
fn part_0_of_the_development_run_of_seed_7() {
    check(
        with_seed(OTHER_SEED, Scenario::default()),
        0,
        "
2a846e97e6645b22960d8d9f6d909a9bbbc1daf7141f0a5d930a5460c0b30823 cdr_data csv lf
6d60d2fd385888c5f926e98445d06a8fb4162222f662213a65c8e11b1d104fab cdr_data csv crlf
5e7e257758d4c3deb8c169cd5265a13328830f529366429e4448e8a5f8d89f55 cdr_data messages
ff8054217d03c670a024fe277519c0b6f18cd710ed067f81540b8fa0f4080ab3 cdr_voice csv lf
a9bfedea1b211d5a6aca7e362966d327239e8f35cfb6cc6300a64cd54d0e399b cdr_voice csv crlf
f694affc56bda7eea67bf44977547df6e743ee19c65c38359d41b0f1bdf53fca cdr_voice messages
",
    );
}

#[test]
fn part_1_of_the_development_run_of_seed_7() {
    check(
        with_seed(OTHER_SEED, Scenario::default()),
        1,
        "
03e044fd08ab3b82fcac88da8a0cc74042343c7acb5d8e6df834ad5684b25283 cdr_data csv lf
9f1f7420d6a442b8d4c7896d828aa7b5abc68b1b10671415eda1cdccad37e010 cdr_data csv crlf
652deaf12a3223c2027dfc805d69126a40a4f603e06edd9cadef4abcbc364c14 cdr_data messages
5554226b7efff495750f07a4348f2992302ce77d310121f94c4608268eaa6795 cdr_voice csv lf
7b24f9da162aaec3c97db4335803bd830dff506502e11074af6404f88fc576ff cdr_voice csv crlf
8d2ba8b662b7553a025bcc181ae5cbfd3272212610fb40198c9e2062f813c408 cdr_voice messages
",
    );
}

#[test]
fn part_85_of_the_development_run_of_seed_7() {
    check(
        with_seed(OTHER_SEED, Scenario::default()),
        85,
        "
873ec75fc33e6ffaddbbf8de2d8bebce9c95ed60f8d5530188a87f7fedc9ba50 cdr_data csv lf
9ab7ce9f8bca169958decbda340a3bb5eee6e62d259fc7a2ba92e1bfe61bae87 cdr_data csv crlf
4e22a3b538880aa2b08a206adaab167f47473db8fdd4d964b92abf89f426f2d9 cdr_data messages
79234604cede7b41524b61442bdc30cb2838579699337a06c1fd6c689113e479 cdr_voice csv lf
1050fbcc0ed6cbeea64f48d2dd411747d4f3924c2c9aaa76eb7ab29789d0a19f cdr_voice csv crlf
9d92d7d0acc5e12056f1f46425a21f781441af6dfef2cd6bbf6d58c47ce4ceac cdr_voice messages
",
    );
}

#[test]
fn part_863_of_the_production_run_of_seed_7() {
    check(
        with_seed(OTHER_SEED, prod()),
        863,
        "
3ec0163a4e99c2158d9360388717d3e3a81818611860ec6a3cc9ee144debe761 cdr_data csv lf
aaa9ca6e85eda8293c30f66723b62dc62bf5cfe30734539385aeffcc50191ef5 cdr_data csv crlf
08a7dfbea272c8f22b14a7dd58bad2956c7f4f64b9f134730454060abecda59a cdr_data messages
c0440777979257c9672371f2790483614f0f591d165a84628696bec36c79767a cdr_voice csv lf
0cbe67d0f6a1a2f952ad1cf980e1c7ef2e311730b3f6aa696431ca64b941b9d9 cdr_voice csv crlf
4a12c8070a6edf4374993d12d7ee8d94659cfd148baf3361c50aa51c0eadd595 cdr_voice messages
",
    );
}

fn check_begins(bytes: Vec<u8>, expected: &str) {
    let text = String::from_utf8(bytes).expect("UTF-8");
    let lines: Vec<&str> = text.split_inclusive('\n').take(expected.lines().count()).collect();
    assert_eq!(lines.concat(), expected);
}

#[test]
fn a_data_file_begins_like_this() {
    let file = Fixture::new(Scenario::default()).csv(Stream::Data, 0, LineEnd::Lf);
    check_begins(
        file,
        "\
msisdn,tower_id,up_bytes,down_bytes,data_type,ip_address,website_url,event_datetime
27711903591,1882,448567,735964,text,76.222.26.56,https://www.dach-ebusiness.com/,2024-01-01 00:16:45.854806
27665338287,1189,533397,824222,image,12.205.234.2,https://connelly-bandwidth.name/,2024-01-01 00:16:46.279120
27611714169,277,828258,417186,audio,86.97.197.180,https://www.weimann-channels.net/,2024-01-01 00:16:47.680524
",
    );
}

#[test]
fn a_voice_file_begins_like_this() {
    let file = Fixture::new(Scenario::default()).csv(Stream::Voice, 0, LineEnd::CrLf);
    check_begins(
        file,
        "\
msisdn,tower_id,call_type,dest_nr,call_duration_sec,start_time\r
27828375646,584,voice,27625007388,157,2024-01-01 00:16:45.957162\r
27626842872,349,voice,27789665093,1663,2024-01-01 00:16:46.542046\r
27843786065,1083,voice,27667686278,626,2024-01-01 00:16:47.368616\r
",
    );
}

#[test]
fn a_topics_messages_begin_like_this() {
    let fixture = Fixture::new(Scenario::default());
    let key_and_value = |stream| fixture.messages(stream, 0);
    check_begins(
        key_and_value(Stream::Data),
        concat!(
            "27711903591\t",
            r#"{"msisdn":"27711903591","tower_id":1882,"up_bytes":448567,"down_bytes":735964,"#,
            r#""data_type":"text","ip_address":"76.222.26.56","#,
            r#""website_url":"https://www.dach-ebusiness.com/","#,
            r#""event_datetime":"2024-01-01T00:16:45.854806"}"#,
            "\n",
        ),
    );
    check_begins(
        key_and_value(Stream::Voice),
        concat!(
            "27828375646\t",
            r#"{"msisdn":"27828375646","tower_id":584,"call_type":"voice","#,
            r#""dest_nr":"27625007388","call_duration_sec":157,"#,
            r#""start_time":"2024-01-01T00:16:45.957162"}"#,
            "\n",
        ),
    );
}
