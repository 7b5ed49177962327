// SPDX-License-Identifier: BSD-2-Clause
//! The models beside what the real targets answered (`record.py`), byte for byte.

use aoe_target::{Address, MemStorage, Model, Port, Profile};

fn bytes(hex: &str) -> Vec<u8> {
    assert_eq!(hex.len() % 2, 0);
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_answer_is_vblades() {
    compare(Profile::vblade(), include_str!("vblade25.txt"), 20);
}

#[test]
fn every_answer_is_ggaoeds() {
    compare(Profile::ggaoed(), include_str!("ggaoed11.txt"), 60);
}

fn compare(profile: Profile, record: &str, least_silences: usize) {
    let name = profile.name;
    let port = Port {
        mac: [2, 0, 0, 0, 0, 0x73],
        mtu: 1500,
    };
    let addr = Address { shelf: 7, slot: 3 };
    let mut model = Model::new(profile, addr, MemStorage::new(8192));
    let mut answers = 0;
    let mut silences = 0;
    let mut wrong = Vec::new();
    for (number, line) in record.lines().enumerate() {
        let (request, reply) = line.split_once(" > ").unwrap();
        let answer = if request.is_empty() {
            model.advertisement(&port).pop()
        } else {
            model.handle(&port, &bytes(request))
        };
        let answer = answer.map_or_else(|| "-".to_string(), |answer| hex(&answer));
        if reply == "-" {
            silences += 1;
        } else {
            answers += 1;
        }
        if answer != reply {
            let cut = |text: &str| text.chars().take(150).collect::<String>();
            wrong.push(format!(
                "line {}:\n request {}\n {name} {}\n model   {}",
                number + 1,
                cut(request),
                cut(reply),
                cut(&answer)
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} lines differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(
        answers > 200 && silences > least_silences,
        "{answers} answers, {silences} silences"
    );
}
