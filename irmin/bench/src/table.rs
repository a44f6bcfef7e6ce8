//! The peer of the native store: keys and values in a redb database.

use std::path::Path;

use anyhow::{Context, Result};
use redb::{Database, Durability, ReadableDatabase, TableDefinition};

use crate::input::{Shape, scattered, value};

const VALUES: TableDefinition<&str, &[u8]> = TableDefinition::new("values");
const OBJECTS: TableDefinition<u64, &[u8]> = TableDefinition::new("objects");
/// What a commit of one edit writes in a native tree of 10^6 keys: three pages and the commit.
const COMMIT: [usize; 4] = [2000, 2000, 1000, 250];

/// Keys and values in a redb database.
pub struct Table {
    database: Database,
    shape: Shape,
    keys: usize,
}

impl Table {
    /// Makes it with the values that the store has.
    pub fn new(at: &Path, shape: Shape, keys: usize) -> Result<Table> {
        let database = Database::create(at)?;
        let write = database.begin_write()?;
        {
            let mut table = write.open_table(VALUES)?;
            for n in 0..keys {
                table.insert(&*shape.key(n), value(n).as_bytes())?;
            }
        }
        write.commit()?;
        Ok(Table {
            database,
            shape,
            keys,
        })
    }

    /// Changes so many values in one transaction.
    pub fn put(&self, durability: Durability, grouped: usize, n: usize) -> Result<()> {
        let mut write = self.database.begin_write()?;
        write.set_durability(durability)?;
        {
            let mut table = write.open_table(VALUES)?;
            for n in n..n + grouped {
                let key = self.shape.key(scattered(n, self.keys));
                table.insert(&*key, value(self.keys + n).as_bytes())?;
            }
        }
        write.commit()?;
        Ok(())
    }

    /// Writes what so many commits write, durable.
    pub fn put_objects(&self, grouped: usize, n: usize) -> Result<()> {
        let write = self.database.begin_write()?;
        {
            let mut table = write.open_table(OBJECTS)?;
            for n in n * 4..(n + grouped) * 4 {
                // Ids are hashes: they come in no order.
                let id = scattered(n, usize::MAX) as u64;
                table.insert(id, &*vec![n as u8; COMMIT[n % 4]])?;
            }
        }
        write.commit()?;
        Ok(())
    }

    /// Reads these keys.
    pub fn read(&self, keys: &[String]) -> Result<()> {
        let read = self.database.begin_read()?;
        let table = read.open_table(VALUES)?;
        for key in keys {
            let found = table.get(&**key)?.context("a key is lost")?;
            std::hint::black_box(found.value().to_vec());
        }
        Ok(())
    }
}
