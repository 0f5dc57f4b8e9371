//! A tiny MaxMind database as bytes (the format's specification, version 2.0): one IPv4 network, one record.

/// A value of the data section.
pub enum Value {
    Text(&'static str),
    Map(Vec<(&'static str, Value)>),
    List(Vec<Value>),
    U16(u16),
    U32(u32),
    U64(u64),
}

/// A database with `record` for all addresses that begin with `first`.
pub fn database(first: u8, record: &Value) -> Vec<u8> {
    let nodes: u32 = 8;
    let mut out = Vec::new();
    // One node per bit of the network: one side leads to the next node, the other to no record.
    for bit in 0..nodes {
        // After the last bit comes the data section, whose offsets begin 16 bytes after the tree.
        let on = if bit + 1 == nodes { nodes + 16 } else { bit + 1 };
        let sides = if first >> (7 - bit) & 1 == 0 { [on, nodes] } else { [nodes, on] };
        sides.iter().for_each(|side| out.extend_from_slice(&side.to_be_bytes()[1..]));
    }
    out.extend_from_slice(&[0; 16]);
    put(&mut out, record);
    out.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    let metadata = Value::Map(vec![
        ("binary_format_major_version", Value::U16(2)),
        ("binary_format_minor_version", Value::U16(0)),
        ("build_epoch", Value::U64(1_795_352_634)),
        ("database_type", Value::Text("Test-City")),
        ("description", Value::Map(vec![("en", Value::Text("one network"))])),
        ("ip_version", Value::U16(4)),
        ("languages", Value::List(vec![Value::Text("en")])),
        ("node_count", Value::U32(nodes)),
        ("record_size", Value::U16(24)),
    ]);
    put(&mut out, &metadata);
    out
}

fn put(out: &mut Vec<u8>, value: &Value) {
    // The type in three bits, or in its own byte above seven; then the size, which is below 29 here for all but texts.
    let control = |out: &mut Vec<u8>, kind: u8, size: usize| {
        let (bits, extended) = if kind > 7 { (0, Some(kind - 7)) } else { (kind, None) };
        let small = size.min(29);
        out.push(bits << 5 | small as u8);
        out.extend(extended);
        if size >= 29 {
            out.push((size - 29) as u8);
        }
    };
    match value {
        Value::Text(text) => {
            control(out, 2, text.len());
            out.extend_from_slice(text.as_bytes());
        }
        Value::U16(number) => {
            control(out, 5, 2);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Value::U32(number) => {
            control(out, 6, 4);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Value::U64(number) => {
            control(out, 9, 8);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Value::Map(pairs) => {
            control(out, 7, pairs.len());
            for (name, value) in pairs {
                put(out, &Value::Text(name));
                put(out, value);
            }
        }
        Value::List(values) => {
            control(out, 11, values.len());
            values.iter().for_each(|value| put(out, value));
        }
    }
}
