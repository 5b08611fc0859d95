//! The wire layout, byte by byte. A test that fails here means a new ABI version, not a new expectation.

use std::net::IpAddr;

use sluice_node_abi::{
    datagrams::{Datagrams, Pair},
    keys, slots,
    tally::Tally,
    values,
    verdict::Verdict,
};
use zerocopy::{FromBytes, IntoBytes};

#[test]
fn a_frontend_key_is_what_a_socket_call_carries() {
    let key = keys::FrontendKey {
        address: keys::address(IpAddr::from([10, 96, 0, 1])),
        port: 443_u16.to_be_bytes(),
        protocol: keys::TCP,
        scope: keys::SCOPE_ANY,
    };
    let expected = [
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 96, 0, 1, 1, 187, 6, 0,
    ];
    assert_eq!(key.as_bytes(), expected);
    assert_eq!(keys::FrontendKey::read_from_bytes(&expected), Ok(key));
}

#[test]
fn addresses_survive_both_ways() {
    for text in ["10.96.0.1", "::1", "fd00::1", "0.0.0.0"] {
        let ip: IpAddr = text.parse().unwrap();
        assert_eq!(keys::ip(keys::address(ip)), ip);
    }
}

#[test]
fn a_port_is_one_word_with_the_generation_on_top() {
    let port = values::Port::new(7, 9);
    assert_eq!(port.0, 0x0000_0009_0000_0007);
    assert_eq!((port.root(), port.generation()), (7, 9));
    assert_eq!(align_of::<values::Port>(), 8);
}

#[test]
fn a_ports_word_has_room_for_its_classes() {
    let port = values::Port::new((1 << 26) - 17, 9).with_classes(16);
    assert_eq!((port.classes(), port.generation()), (16, 9));
    assert_eq!(port.tables(), (1 << 26) - 17..=(1 << 26) - 1);
    assert_eq!(values::Port::new(7, 9).tables(), 7..=7);
}

#[test]
fn a_class_names_its_pod_and_table() {
    let key = keys::ClassKey {
        root: 1,
        reserved: 0,
        cgroup: 2,
    };
    let mut expected = words([1, 0]);
    expected.extend(2_u64.to_ne_bytes());
    assert_eq!(key.as_bytes(), expected);
    let class = values::Class::new(1, 3);
    assert_eq!(
        (class.0, class.root(), class.table()),
        (0x1_0000_0003, 1, 3)
    );
}

#[test]
fn a_slot_names_a_version_and_its_group() {
    let slot = slots::slot(15, 0x12_3456);
    assert_eq!(slot, 0x0f12_3456);
    assert_eq!((slots::version(slot), slots::group(slot)), (15, 0x12_3456));
    assert_eq!(slots::slot(0, 7), 7, "a Service without versions");
}

#[test]
fn each_place_of_a_sticky_table_is_packed_by_itself() {
    let version = |place: u32| (place * 7 + place / 16) % slots::VERSIONS;
    let mut table = vec![0; slots::STICKY_LENGTH as usize];
    for place in 0..slots::STICKY_SLOTS {
        let cell = &mut table[slots::cell_of(place) as usize];
        *cell = slots::packed(*cell, place, version(place));
    }
    for place in 0..slots::STICKY_SLOTS {
        let cell = table[slots::cell_of(place) as usize];
        assert_eq!(slots::unpacked(cell, place), version(place));
    }
    assert_eq!(table[..slots::VERSIONS as usize], [0; 16]);
}

#[test]
fn fields_stand_where_kernel_programs_of_this_version_read_them() {
    let table = values::Table {
        mode: 1,
        offset: 2,
        length: 3,
        counter: 4,
        group: 5,
        next: 6,
        affinity: 7,
        members: 8,
        member_count: 9,
        carried: [10, 11, 12, 13, 14, 15, 16],
    };
    let expected = words([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
    assert_eq!(table.as_bytes(), expected);
    assert_eq!(expected.len(), 64, "a table is a cache line");

    let group = values::Group {
        mode: 1,
        offset: 2,
        length: 3,
        counter: 4,
    };
    assert_eq!(group.as_bytes(), words([1, 2, 3, 4]));

    let backend = values::Backend {
        address: [1; 16],
        port: [2, 3],
        protocol: 6,
        reserved: 0,
        generation: 8,
    };
    let mut expected = vec![1; 16];
    expected.extend([2, 3, 6, 0, 8, 0, 0, 0]);
    assert_eq!(backend.as_bytes(), expected);
    let row = values::BackendRow {
        backend,
        sockets: 9,
    };
    expected.extend(9_u64.to_ne_bytes());
    assert_eq!(row.as_bytes(), expected);

    let socket = values::Socket {
        address: [1; 16],
        port: [2, 3],
        protocol: 6,
        counted: 1,
        port_id: 10,
        group: 11,
        backend: 12,
        backend_generation: 13,
        port_generation: 14,
        backend_address: [4; 16],
        backend_port: [5, 6],
        reserved: [0; 6],
        since: 15,
    };
    let mut expected = vec![1; 16];
    expected.extend([2, 3, 6, 1]);
    expected.extend(words([10, 11, 12, 13, 14]));
    expected.extend([4; 16]);
    expected.extend([5, 6, 0, 0, 0, 0, 0, 0]);
    expected.extend(15_u64.to_ne_bytes());
    assert_eq!(socket.as_bytes(), expected);

    let frontend = values::Frontend { port: 3, flags: 4 };
    assert_eq!(frontend.as_bytes(), words([3, 4]));
    assert_eq!(values::NodeAddress { flags: 5 }.as_bytes(), words([5]));
    assert_eq!(values::Caller { flags: 6 }.as_bytes(), words([6]));
}

#[test]
fn a_pair_of_a_datagram_socket_is_a_cache_line() {
    let pair = Pair {
        front: keys::FrontendKey {
            address: [1; 16],
            port: [2, 3],
            protocol: 17,
            scope: 0,
        },
        backend_address: [4; 16],
        backend_port: [5, 6],
        reserved: [0; 2],
        port_id: 7,
        port_generation: 8,
        backend: 9,
        backend_generation: 10,
        last: 11,
    };
    let mut expected = vec![1; 16];
    expected.extend([2, 3, 17, 0]);
    expected.extend([4; 16]);
    expected.extend([5, 6, 0, 0]);
    expected.extend(words([7, 8, 9, 10]));
    expected.extend(11_u64.to_ne_bytes());
    assert_eq!(pair.as_bytes(), expected);
    assert_eq!(expected.len(), 64);
    assert_eq!(size_of::<Datagrams>(), 8 * 64);
}

#[test]
fn a_table_with_one_group_has_nothing_of_its_own_but_members() {
    let mut table = values::Table {
        offset: 10,
        length: 4,
        counter: 5,
        members: 14,
        member_count: 3,
        ..values::Table::default()
    };
    assert_eq!((table.own_slots(), table.own_counter()), ((10, 7), 5));
    table.group = 1;
    assert_eq!((table.own_slots(), table.own_counter()), ((14, 3), 0));
}

#[test]
fn tallies_are_numbered_as_listed() {
    for (index, tally) in Tally::ALL.into_iter().enumerate() {
        assert_eq!(tally as usize, index);
    }
}

#[test]
fn an_affinity_names_client_and_port_and_what_they_had() {
    let key = keys::AffinityKey {
        client: 1,
        port: 2,
        class: 3,
    };
    let mut expected = 1_u64.to_ne_bytes().to_vec();
    expected.extend(words([2, 3]));
    assert_eq!(key.as_bytes(), expected);
    let value = values::Affinity {
        backend: 1,
        backend_generation: 2,
        group: 3,
        port_generation: 4,
        last: 5,
    };
    let mut expected = words([1, 2, 3, 4]);
    expected.extend(5_u64.to_ne_bytes());
    assert_eq!(value.as_bytes(), expected);
}

#[test]
fn verdicts_are_numbered_as_listed_and_named_apart() {
    for (index, verdict) in Verdict::ALL.into_iter().enumerate() {
        assert_eq!(verdict as usize, index);
        assert_eq!(
            Verdict::ALL
                .iter()
                .filter(|v| v.name() == verdict.name())
                .count(),
            1
        );
    }
}

fn words<const N: usize>(values: [u32; N]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_ne_bytes()).collect()
}
