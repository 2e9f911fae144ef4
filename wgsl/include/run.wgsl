// A run of a stored matrix (lib/graph/storages/storage.ts): value = scale · integer + start.
struct Run {
  words: vec4u,
  more: vec4u,
  scale: f32,
  start: f32,
}
