// Read arrays of a group with zarrita, and write the values of each into a file: of x/acc, x.acc.
// node read_with_zarrita.mjs GROUP FOLDER NAME...; prints shape and dtype of each as JSON.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import FileSystemStore from "@zarrita/storage/fs";
import * as zarr from "zarrita";

const [group, folder, ...names] = process.argv.slice(2);
const root = zarr.root(new FileSystemStore(group));
const found = {};
for (const name of names) {
  const array = await zarr.open(root.resolve(name), { kind: "array" });
  const { data, shape } = await zarr.get(array);
  const file = join(folder, name.replaceAll("/", "."));
  writeFileSync(file, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  found[name] = [shape, array.dtype];
}
console.log(JSON.stringify(found));
