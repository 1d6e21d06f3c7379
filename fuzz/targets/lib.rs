//! What the fuzz targets share: limits that keep one execution short, and envelopes whose checksum is right.
//!
//! An input is a payload. Each target puts it into an envelope itself, so that mutations reach the reader instead of failing at the
//! checksum.

use cu_persist::Limits;
use cu_storage::{
    Backend, BatchOptions, Checkpoint, Database, Document, IndexDefinition, IndexKind, MemoryBackend, Operation,
    PageBytes, PageId, block_on,
};
use cu_vm::{Options, Vm};
use xxhash_rust::xxh64::xxh64;

/// Bytes of heap that a VM under test may take.
pub const HEAP_LIMIT: usize = 4 << 20;

/// Fuel for what was loaded.
pub const FUEL: u64 = 20_000;

/// Limits of loading.
pub fn limits() -> Limits {
    Limits { payload_bytes: 1 << 20, objects: 100_000, function_bytes: 1 << 20 }
}

/// A VM under test.
pub fn vm() -> Vm {
    Vm::new(options())
}

/// What such a VM is made with.
pub fn options() -> Options {
    Options { heap_limit: HEAP_LIMIT, ..Options::default() }
}

/// A payload in an envelope, not deflated.
pub fn sealed(magic: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut out = magic.to_vec();
    out.extend_from_slice(&[cu_persist::FORMAT_VERSION, 0]);
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(payload);
    out.extend_from_slice(&xxh64(&out, 0).to_le_bytes());
    out
}

/// Runs what is under way, with a collection now and then.
pub fn run_on(vm: &mut Vm) {
    for _ in 0..4 {
        if !vm.is_running() || vm.step(FUEL / 4).is_err() {
            break;
        }
        vm.collect();
    }
    vm.abort();
    vm.collect();
}

/// Options of a database with small pages.
pub fn tiny() -> cu_storage::Options {
    cu_storage::Options { page_size: PAGE_SIZE, ..cu_storage::Options::default() }
}

const PAGE_SIZE: usize = 256;

/// A small database with indexes, and where it is stored.
pub fn database() -> (MemoryBackend, Database) {
    let store = MemoryBackend::new();
    let database = block_on(Database::open(store.clone(), tiny())).expect("an empty store opens");
    let users = (0..12).map(|number| {
        let user = Document::map([
            ("name", Document::text(&format!("n{number}"))),
            ("age", Document::Integer(20 + number % 7)),
            ("tags", Document::Array(vec![Document::text(["a", "b"][number as usize % 2])])),
        ]);
        Operation::set("users", number, &user).expect("it encodes")
    });
    let users: Vec<Operation> = users.collect();
    block_on(database.batch(&users, &BatchOptions::default())).expect("there is room");
    for (fields, kind) in [(&["age", "name"][..], IndexKind::Btree), (&["name"], IndexKind::Hash)] {
        block_on(database.create_index("users", &IndexDefinition::new(fields, kind))).expect("it fits");
    }
    block_on(database.set("users", &12.into(), &Document::text(&"long".repeat(100)))).expect("there is room");
    (store, database)
}

/// The store that an input describes: a byte each for the first page of the free list and the catalog's root, the length of the log in two
/// bytes, the log's changes, and pages from number 1 on. Checksums are made here.
pub fn store_of(input: &[u8]) -> Option<MemoryBackend> {
    let (&[free_list, catalog, low, high], rest) = input.split_first_chunk::<4>()?;
    let (changes, pages) = rest.split_at_checked(usize::from(u16::from_le_bytes([low, high])))?;
    let sealed = |number: u32, content: &[u8]| [&xxh64(content, u64::from(number)).to_le_bytes(), content].concat();
    let pages: Vec<(PageId, PageBytes)> = (1..)
        .zip(pages.chunks_exact(PAGE_SIZE - 8))
        .map(|(number, content)| (PageId(number), sealed(number, content).into()))
        .collect();
    let mut root = b"CuDB".to_vec();
    root.extend_from_slice(&cu_storage::FORMAT_VERSION.to_le_bytes());
    root.extend_from_slice(&(PAGE_SIZE as u32).to_le_bytes());
    root.extend_from_slice(&0u64.to_le_bytes());
    for number in [pages.len() as u32 + 1, free_list.into(), catalog.into()] {
        root.extend_from_slice(&number.to_le_bytes());
    }
    let store = MemoryBackend::new();
    let checkpoint = Checkpoint { expected_checkpoint: 0, expected_sequence: 0, root: with_checksum(root), pages };
    block_on(store.checkpoint(checkpoint)).ok()?;
    if !changes.is_empty() {
        let record = [&[cu_storage::FORMAT_VERSION as u8, 1], changes].concat();
        block_on(store.append(0, with_checksum(record))).ok()?;
    }
    Some(store)
}

/// The input that describes a store. Its log becomes one record.
pub fn input_of(store: &MemoryBackend) -> Vec<u8> {
    let stored = block_on(store.load(0)).expect("it is in memory");
    let numbers = store.page_numbers();
    let pages = block_on(store.read_pages(stored.checkpoint, numbers)).expect("it is in memory");
    let number = |at: usize| stored.root.as_ref().map_or(0, |root| root[at]);
    let changes: Vec<u8> = stored.log.iter().flat_map(|record| &record[2..record.len() - 8]).copied().collect();
    let mut input = vec![number(24), number(28)];
    input.extend_from_slice(&(changes.len() as u16).to_le_bytes());
    input.extend_from_slice(&changes);
    pages.into_iter().flatten().for_each(|page| input.extend_from_slice(&page[8..]));
    input
}

fn with_checksum(mut content: Vec<u8>) -> Vec<u8> {
    content.extend_from_slice(&xxh64(&content, 0).to_le_bytes());
    content
}
