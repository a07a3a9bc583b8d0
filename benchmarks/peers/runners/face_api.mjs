// The 68-point network of @vladmandic/face-api on the wasm backend of tfjs: node face_api.mjs JOB FOLDER.
// It reads and writes the files of jobs.py.

import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const environment = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '.venvs', 'face-api')
const require = createRequire(join(environment, 'index.js'))
const tf = require('@tensorflow/tfjs')
const wasm = require('@tensorflow/tfjs-backend-wasm')
const { PNG } = require('pngjs')
const faceapi = require('@vladmandic/face-api/dist/face-api.node-wasm.js')

const WARM_UP = 3 // untimed calls
const PACKAGES = ['@vladmandic/face-api', '@tensorflow/tfjs-backend-wasm']
const [job, folder] = process.argv.slice(2)
const faces = JSON.parse(readFileSync(job, 'utf8'))
const models = join(environment, 'node_modules', '@vladmandic', 'face-api', 'model')

wasm.setThreadsCount(Number(process.env.RUNNER_THREADS ?? 1))
wasm.setWasmPaths(join(environment, 'node_modules', '@tensorflow', 'tfjs-backend-wasm', 'dist') + '/')
await tf.setBackend('wasm')
await tf.ready()
const net = faceapi.nets.faceLandmark68Net
await net.loadFromDisk(models)

// Returns the image as RGB values, (H, W, 3).
function decode(path) {
  const { width, height, data } = PNG.sync.read(readFileSync(path))
  const rgb = new Int32Array(width * height * 3)
  for (let i = 0; i < width * height; i += 1) for (let c = 0; c < 3; c += 1) rgb[3 * i + c] = data[4 * i + c]
  return { width, height, rgb }
}

// Like withFaceLandmarks of face-api: whole pixels, clipped to the image; the network pads the crop to a square.
async function align(image, box) {
  const tensor = tf.tensor3d(image.rgb, [image.height, image.width, 3], 'int32')
  const [x0, y0, x1, y1] = box.map(Math.round)
  const face = new faceapi.Rect(x0, y0, x1 - x0, y1 - y0).clipAtImageBorders(image.width, image.height)
  const [crop] = await faceapi.extractFaceTensors(tensor, [face])
  const landmarks = await net.detectLandmarks(crop)
  tf.dispose([tensor, crop])
  return landmarks.positions.map(({ x, y }) => [x + face.x - 0.5, y + face.y - 0.5])
}

const first = decode(faces[0].image)
for (let i = 0; i < WARM_UP; i += 1) await align(first, faces[0].box)
const predictions = {}
const times = []
let last = { path: faces[0].image, pixels: first }
for (const { name, image, box } of faces) {
  if (image !== last.path) last = { path: image, pixels: decode(image) }
  const start = performance.now()
  const points = await align(last.pixels, box)
  times.push(performance.now() - start)
  predictions[name] = points.map((point) => point.map((value) => Math.round(1000 * value) / 1000))
}

const sorted = times.toSorted((a, b) => a - b)
const versions = Object.fromEntries(PACKAGES.map((name) => [name, require(`${name}/package.json`).version]))
versions.node = process.versions.node
versions.backend = tf.getBackend()
writeFileSync(join(folder, 'predictions.json'), JSON.stringify(predictions))
writeFileSync(join(folder, 'timing.json'), JSON.stringify({
  ms_per_face: (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2,
  model_mb: statSync(join(models, 'face_landmark_68_model.bin')).size / 1e6,
  versions,
}))
