// The tables of kasane.db. A change needs a new Database::kSchemaVersion and a migration.
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

}  // namespace kasane::store
