/* From a file to the picture that is shown, and to the file that is sent. Both are turned alike: not every browser
   applies the orientation in every kind of file, and the service does. */

const SENT_AS_THEY_ARE = ["image/jpeg", "image/png", "image/webp", "image/bmp"]; // if they have no EXIF data, or are JPEG

/** The bitmap to show, and the blob to send. Throws if the browser cannot decode the file. */
export async function decode(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  const exif = blob.type === "image/jpeg" ? -1 : findExif(bytes);
  const orientation = blob.type === "image/webp" && exif >= 0 ? readOrientation(bytes, exif) : 1;
  if (orientation > 1) bytes.set([0x58, 0x58, 0x58, 0x58], exif); // no browser applies it a second time
  let bitmap = await createImageBitmap(orientation > 1 ? new Blob([bytes], { type: blob.type }) : blob);
  if (orientation > 1) bitmap = upright(bitmap, orientation);
  const asItIs = exif < 0 && SENT_AS_THEY_ARE.includes(blob.type);
  return { bitmap, file: asItIs ? blob : await encode(bitmap) };
}

/** The picture with paint on it, as the service receives it. */
export function encode(bitmap, paint = null) {
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0);
  if (paint) context.drawImage(paint, 0, 0);
  return canvas.convertToBlob(paint ? { type: "image/jpeg", quality: 0.95 } : { type: "image/png" });
}

/** Where the chunk's name "EXIF" (WebP) or "eXIf" (PNG) is; -1 if it is nowhere. */
function findExif(bytes) {
  const text = new TextDecoder("latin1").decode(bytes);
  return Math.max(text.lastIndexOf("EXIF"), text.lastIndexOf("eXIf"));
}

/** The orientation, 1 to 8, in a WebP's EXIF chunk: tag 0x0112 of the first directory of a TIFF header. */
function readOrientation(bytes, chunk) {
  try {
    const view = new DataView(bytes.buffer, chunk + 8);
    const tiff = view.getUint32(0) === 0x45786966 ? 6 : 0; // some writers put "Exif\0\0" before it
    const little = view.getUint16(tiff) === 0x4949;
    const directory = tiff + view.getUint32(tiff + 4, little);
    for (let i = 0; i < view.getUint16(directory, little); i++) {
      const entry = directory + 2 + 12 * i;
      if (view.getUint16(entry, little) === 0x0112) return view.getUint16(entry + 8, little);
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // a damaged chunk turns nothing
  }
  return 1;
}

/** The bitmap turned and mirrored as an EXIF orientation says. */
function upright(bitmap, orientation) {
  const { width, height } = bitmap;
  const matrix = {
    2: [-1, 0, 0, 1, width, 0],
    3: [-1, 0, 0, -1, width, height],
    4: [1, 0, 0, -1, 0, height],
    5: [0, 1, 1, 0, 0, 0],
    6: [0, 1, -1, 0, height, 0],
    7: [0, -1, -1, 0, height, width],
    8: [0, -1, 1, 0, 0, width],
  }[orientation];
  if (!matrix) return bitmap;
  const canvas = orientation > 4 ? new OffscreenCanvas(height, width) : new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  context.setTransform(...matrix);
  context.drawImage(bitmap, 0, 0);
  return canvas.transferToImageBitmap();
}
