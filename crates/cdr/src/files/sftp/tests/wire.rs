//! The protocol's bytes.

use super::super::wire::*;

/// A message as servers send it: with its length.
fn message(body: &[u8]) -> Vec<u8> {
    let mut bytes = (body.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(body);
    bytes
}

#[test]
fn an_open_request_is_as_in_the_draft() {
    for (found, flags) in [(Found::Emptied, 0x1a), (Found::Refused, 0x2a), (Found::Kept, 0x0a)] {
        let mut bytes = Vec::new();
        put_request(&mut bytes, 7, &Request::Open { path: "a.csv", found });
        let expected =
            [&[0, 0, 0, 22, 3, 0, 0, 0, 7, 0, 0, 0, 5][..], b"a.csv", &[0, 0, 0, flags, 0, 0, 0, 0]];
        assert_eq!(bytes, expected.concat(), "{found:?}");
    }
}

#[test]
fn a_size_is_set_by_its_attribute_alone() {
    let mut bytes = Vec::new();
    put_request(&mut bytes, 9, &Request::SetSize { handle: b"h", size: 0x0102 });
    let expected =
        [&[0, 0, 0, 22, 10, 0, 0, 0, 9, 0, 0, 0, 1][..], b"h", &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 2]];
    assert_eq!(bytes, expected.concat());
}

#[test]
fn a_write_has_its_data_last() {
    let mut bytes = Vec::new();
    let handle = [0, 0, 0, 200];
    put_request(&mut bytes, 8, &Request::Write { handle: &handle, offset: 0x0102, data: b"xyz" });
    let expected = [
        &[0, 0, 0, 28, 6, 0, 0, 0, 8, 0, 0, 0, 4, 0, 0, 0, 200][..],
        &[0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 3],
        b"xyz",
    ];
    assert_eq!(bytes, expected.concat());
}

#[test]
fn replies_are_read_with_the_number_of_their_request() {
    let status = [&[101, 0, 0, 0, 9, 0, 0, 0, 4, 0, 0, 0, 7][..], b"Failure", &[0, 0, 0, 0]];
    let failure = Status { code: 4, message: "Failure".to_owned() };
    assert_eq!(reply(&status.concat()), Ok((9, Reply::Status(failure))));
    // Handles are bytes, not text.
    let handle = [102, 0, 0, 0, 10, 0, 0, 0, 4, 0, 0, 0, 200];
    assert_eq!(reply(&handle), Ok((10, Reply::Handle(vec![0, 0, 0, 200]))));
    let attributes = [
        &[105, 0, 0, 0, 11, 0, 0, 0, 0x0f][..],
        &[0, 0, 0, 0, 0, 1, 0xa5, 0xe0],
        &[0, 0, 3, 232, 0, 0, 3, 232],
        &[0, 0, 0x41, 0xed],
        &[1, 2, 3, 4, 5, 6, 7, 8],
    ];
    let (_, Reply::Attributes(found)) = reply(&attributes.concat()).unwrap() else {
        panic!("these are attributes");
    };
    assert_eq!(found.size, Some(108_000));
    assert_eq!(found.is_folder(), Some(true));
}

#[test]
fn a_status_without_message_is_a_status() {
    let (_, found) = reply(&[101, 0, 0, 0, 1, 0, 0, 0, 0]).unwrap();
    let message = String::new();
    assert_eq!(found, Reply::Status(Status { code: 0, message }));
}

#[test]
fn hello_lists_the_extensions() {
    let body = [&[2, 0, 0, 0, 3, 0, 0, 0, 18][..], b"limits@openssh.com", &[0, 0, 0, 1], b"1"];
    let found = hello(&body.concat()).unwrap();
    assert_eq!(found.version, 3);
    assert_eq!(found.extensions, [LIMITS]);
}

#[test]
fn messages_are_separated_wherever_they_are_cut() {
    let bytes = [message(b"first"), message(b""), message(b"third")].concat();
    for cut in 0..bytes.len() {
        let (mut found, mut rest) = (Vec::new(), &bytes[..cut]);
        while let Some((message, after)) = split_message(rest).unwrap() {
            found.push(message);
            rest = after;
        }
        let complete = [9, 13, 22].iter().filter(|end| **end <= cut).count();
        assert_eq!(found.len(), complete, "{cut} bytes");
    }
}

#[test]
fn nonsense_is_refused() {
    let too_long = [0x53, 0x53, 0x48, 0x2d];
    assert_eq!(split_message(&too_long), Err(WireError::TooLong(0x5353_482d)));
    assert_eq!(reply(&[42, 0, 0, 0, 1]), Err(WireError::Unexpected(42)));
    assert_eq!(hello(&[101, 0, 0, 0, 3]), Err(WireError::Unexpected(101)));
    let handle = [102, 0, 0, 0, 10, 0, 0, 0, 4, 0, 0, 0, 200];
    for length in 0..handle.len() {
        assert_eq!(reply(&handle[..length]), Err(WireError::Short), "{length} bytes");
    }
}
