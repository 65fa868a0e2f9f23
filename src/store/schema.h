// The tables of kasane.db. A change needs a new Database::kSchemaVersion and a migration:
// kSchema is version 1 and stays as it is, each later version adds its own text. A new
// database gets them all, one after the other.
#pragma once

namespace kasane::store {

// Digests are 32-byte blobs, times nanoseconds since the epoch, labels "key\0value\0"*.
inline constexpr char kSchema[] = R"sql(
CREATE TABLE layers(
  diff_id BLOB PRIMARY KEY, content_id BLOB NOT NULL, tar_size INTEGER NOT NULL,
  content_size INTEGER NOT NULL, entry_count INTEGER NOT NULL, canonical INTEGER NOT NULL,
  created_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE images(
  id BLOB PRIMARY KEY, created_ns INTEGER NOT NULL, size_bytes INTEGER NOT NULL,
  architecture TEXT NOT NULL, os TEXT NOT NULL, variant TEXT NOT NULL, labels BLOB NOT NULL,
  last_tagged_ns INTEGER NOT NULL, manifest_media_type TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE image_layers(
  image_id BLOB NOT NULL REFERENCES images(id), position INTEGER NOT NULL,
  diff_id BLOB NOT NULL REFERENCES layers(diff_id),
  PRIMARY KEY(image_id, position)) WITHOUT ROWID;
CREATE INDEX image_layers_by_layer ON image_layers(diff_id);
-- Which blobs an image may use. role: 0 config, 1 manifest, 2 compressed layer (if present).
CREATE TABLE image_blobs(
  image_id BLOB NOT NULL REFERENCES images(id), digest BLOB NOT NULL, role INTEGER NOT NULL,
  size INTEGER NOT NULL, PRIMARY KEY(image_id, digest)) WITHOUT ROWID;
CREATE INDEX image_blobs_by_digest ON image_blobs(digest);
CREATE TABLE tags(
  reference TEXT PRIMARY KEY, repository TEXT NOT NULL,
  image_id BLOB NOT NULL REFERENCES images(id), tagged_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX tags_by_image ON tags(image_id);
CREATE TABLE digests(
  reference TEXT PRIMARY KEY, repository TEXT NOT NULL,
  image_id BLOB NOT NULL REFERENCES images(id), tagged_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX digests_by_image ON digests(image_id);
CREATE TABLE steps(
  key BLOB PRIMARY KEY, diff_id BLOB NOT NULL REFERENCES layers(diff_id),
  created_ns INTEGER NOT NULL, duration_ns INTEGER NOT NULL, scope TEXT NOT NULL,
  explanation TEXT NOT NULL, last_used_ns INTEGER NOT NULL);
CREATE INDEX steps_by_scope ON steps(scope, created_ns);
CREATE INDEX steps_by_layer ON steps(diff_id);
)sql";

// Version 2.
// step_scopes: which step a scope (one step of one Dockerfile in one checkout) used last,
// made or hit. suffix: the scope behind its first '|', equal in all checkouts. used_ns
// orders the rows of a suffix; it is the wall clock, but never goes back among them.
// tag_platforms: the images of a tag that names one for each platform; such a tag has a
// row in `tags` as well, for the platform of this host.
inline constexpr char kSchemaV2[] = R"sql(
CREATE TABLE step_scopes(
  scope TEXT PRIMARY KEY, suffix TEXT NOT NULL, key BLOB NOT NULL REFERENCES steps(key),
  used_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX step_scopes_by_suffix ON step_scopes(suffix, used_ns);
CREATE INDEX step_scopes_by_key ON step_scopes(key);
CREATE TABLE tag_platforms(
  reference TEXT NOT NULL REFERENCES tags(reference), platform TEXT NOT NULL,
  image_id BLOB NOT NULL REFERENCES images(id), PRIMARY KEY(reference, platform)) WITHOUT ROWID;
CREATE INDEX tag_platforms_by_image ON tag_platforms(image_id);
)sql";

// Version 1 knows a scope's last miss only: rowids grow with each.
inline constexpr char kMigrateToV2[] = R"sql(
INSERT OR REPLACE INTO step_scopes(scope, suffix, key, used_ns)
  SELECT scope, substr(scope, instr(scope, '|') + 1), key, last_used_ns FROM steps
  WHERE scope <> '' ORDER BY rowid;
)sql";

// Lets version 2's queries read a database of version 1, in which nothing may be written.
inline constexpr char kReadV1AsV2[] = R"sql(
PRAGMA temp_store = MEMORY;
CREATE TEMP TABLE step_scopes(scope TEXT, suffix TEXT, key BLOB, used_ns INTEGER);
CREATE TEMP TABLE tag_platforms(reference TEXT, platform TEXT, image_id BLOB);
)sql";
inline constexpr char kForgetV1AsV2[] = R"sql(
DROP TABLE IF EXISTS temp.step_scopes;
DROP TABLE IF EXISTS temp.tag_platforms;
)sql";

}  // namespace kasane::store
