-- One append-only log of changes; `live` points at each key's newest one. `meta` remembers up to where history was forgotten:
-- the newest revision is the newest change, or that.
CREATE TABLE IF NOT EXISTS changes (
    revision INTEGER PRIMARY KEY,
    type     INTEGER NOT NULL,  -- 0 create, 1 update, 2 delete
    key      TEXT    NOT NULL,
    created  INTEGER NOT NULL,
    previous INTEGER NOT NULL,  -- revision of the record before; 0 for a create
    checksum INTEGER NOT NULL,  -- crc32 of key and value
    value    BLOB    NOT NULL
);
-- Of earlier versions; it cost a quarter of each commit.
DROP INDEX IF EXISTS changes_by_key;
CREATE TABLE IF NOT EXISTS live (
    key      TEXT PRIMARY KEY,
    revision INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS meta (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
-- What follows from a change follows in the same statement: one round trip for a whole batch of writers.
CREATE TRIGGER IF NOT EXISTS changed AFTER INSERT ON changes BEGIN
    INSERT OR REPLACE INTO live VALUES (NEW.key, NEW.revision);
    DELETE FROM live WHERE NEW.type = 2 AND key = NEW.key;
END;
