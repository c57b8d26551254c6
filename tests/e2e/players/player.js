// Plays one presentation in the page that loads it and reports what a viewer would have seen.

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));


// The frame number that the picture on screen carries: see Barcode in tests/support/media.py.
function barcode(video, context) {
    context.drawImage(video, 0, 0, 320, 180);
    const row = context.getImageData(0, 12, 320, 1).data;
    let number = 0;
    for (let bit = 0; bit < 16; bit++) {
        if (row[(bit * 20 + 10) * 4] > 128) {
            number |= 1 << bit;
        }
    }
    return number;
}


function attachHls(video, url, report) {
    const hls = new Hls({ enableWorker: false, startLevel: 0 });
    const switches = { levels: 0, audio: 0 };
    hls.on(Hls.Events.ERROR, (_, data) => {
        report.errors.push(`${data.type} ${data.details} fatal=${data.fatal} ${data.error ?? ""}`);
    });
    hls.on(Hls.Events.LEVEL_SWITCHED, () => switches.levels++);
    hls.on(Hls.Events.AUDIO_TRACK_SWITCHED, () => switches.audio++);
    hls.loadSource(url);
    hls.attachMedia(video);
    return {
        switches,
        languages: () => hls.audioTracks.map((track) => track.lang ?? ""),
        levels: () => hls.levels.map((level) => level.height),
        setLevel: (index) => { hls.nextLevel = index; },
        setAudio: (index) => { hls.audioTrack = index; },
    };
}


function attachDash(video, url, report) {
    const player = dashjs.MediaPlayer().create();
    const switches = { levels: 0, audio: 0 };
    player.updateSettings({
        debug: { logLevel: 0 },
        streaming: {
            utcSynchronization: { enabled: false, useManifestDateHeaderTimeSource: false },
            abr: { autoSwitchBitrate: { video: false }, initialBitrate: { video: 1 } },
            buffer: {
                fastSwitchEnabled: true,
                ...(report.early && { bufferTimeDefault: 3, bufferTimeAtTopQuality: 3 }),
            },
        },
    });
    const events = dashjs.MediaPlayer.events;
    for (const name of ["ERROR", "PLAYBACK_ERROR"]) {
        player.on(events[name], (event) => {
            const error = event.error ?? {};
            report.errors.push(`${name} ${error.code ?? ""} ${error.message ?? error}`);
        });
    }
    player.on(events.QUALITY_CHANGE_RENDERED, (event) => {
        if (event.mediaType === "video") {
            switches.levels++;
        }
    });
    player.on(events.TRACK_CHANGE_RENDERED, (event) => {
        if (event.mediaType === "audio") {
            switches.audio++;
        }
    });
    player.initialize(video, url, false);
    const heights = () => player.getRepresentationsByType("video");
    return {
        switches,
        languages: () => player.getTracksFor("audio").map((track) => track.lang ?? ""),
        levels: () => heights().map((representation) => representation.height),
        setLevel: (index) => player.setRepresentationForTypeByIndex("video", index, true),
        setAudio: (index) => player.setCurrentTrack(player.getTracksFor("audio")[index]),
    };
}


function attachShaka(video, url, report) {
    const player = new shaka.Player();
    const switches = { levels: 0, audio: 0 };
    player.addEventListener("error", ({ detail }) => {
        const { category, code, data, severity } = detail;
        report.errors.push(`shaka ${category} ${code} severity=${severity} ${data?.join(" ")}`);
    });
    player.addEventListener("adaptation", () => switches.levels++);
    player.configure({
        // At first the lowest; ABR chooses nothing thereafter.
        abr: { enabled: false, defaultBandwidthEstimate: 1, useNetworkInformation: false },
    });
    // The sound has been switched once media of the wanted language is here.
    let wanted = null;
    player.getNetworkingEngine().registerResponseFilter((type, _, { stream } = {}) => {
        if (stream?.type === "audio" && stream.language === wanted) {
            switches.audio++;
        }
    });
    player.attach(video).then(() => player.load(url)).catch((error) => {
        report.errors.push(`shaka cannot load: ${error}`);
    });
    const videos = () => player.getVideoTracks().sort((a, b) => a.height - b.height);
    return {
        switches,
        languages: () => player.getAudioTracks().map((track) => track.language),
        levels: () => videos().map((track) => track.height),
        setLevel: (index) => player.selectVideoTrack(videos()[index], true),
        setAudio: (index) => {
            const track = player.getAudioTracks()[index];
            wanted = track.active ? null : track.language;
            player.selectAudioTrack(track);
        },
    };
}


// The browser's own player, on a file.
function attachFile(video, url) {
    video.crossOrigin = "anonymous";
    video.src = url;
    return {
        switches: { levels: 0, audio: 0 },
        languages: () => [],
        levels: () => [video.videoHeight],
    };
}


async function until(condition, what, report, timeout = 15000) {
    const end = performance.now() + timeout;
    while (!condition()) {
        if (performance.now() > end) {
            throw new Error(`timed out: ${what}; errors: ${report.errors.join("; ")}`);
        }
        await wait(20);
    }
}


const ATTACH = { hls: attachHls, file: attachFile, shaka: attachShaka };


// Plays from the start, seeks forwards and back, switches renditions, and plays to the end.
// early: switches before it seeks, and buffers little until then.
async function run({ player, url, seeks, early }) {
    const video = document.querySelector("video");
    const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    context.canvas.width = 320;
    context.canvas.height = 180;
    const report = {
        player, early, errors: [], frames: [], stills: [], sizes: [], seeks: [], ended: false,
    };
    video.addEventListener("error", () => report.errors.push(`media ${video.error?.message}`));
    video.addEventListener("ended", () => { report.ended = true; });
    const onFrame = (_, metadata) => {
        report.frames.push([metadata.mediaTime, barcode(video, context)]);
        if (!report.sizes.includes(metadata.height)) {
            report.sizes.push(metadata.height);
        }
        video.requestVideoFrameCallback(onFrame);
    };
    video.requestVideoFrameCallback(onFrame);

    const attached = (ATTACH[player] ?? attachDash)(video, url, report);
    await until(() => video.readyState >= 3, "first frame", report);
    report.languages = attached.languages();
    report.levels = attached.levels();
    await video.play();
    await until(() => video.currentTime > 1, "playing", report);
    const levels = report.levels.length > 1 ? [...report.levels.keys()] : [];
    const switchTo = async (wanted) => {
        for (const level of wanted) {
            attached.setLevel(level);
            await until(() => video.videoHeight === report.levels[level], `level ${level}`, report);
        }
    };
    if (early) {
        await switchTo(levels);
    }

    // Paused, the picture is exactly that of the time asked for; while it plays, the canvas may get
    // the picture after the one that the callback is about.
    const seek = async (time) => {
        video.pause();
        const before = report.frames.length;
        video.currentTime = time;
        await until(() => !video.seeking && report.frames.length > before, `seek ${time}`, report);
        await wait(100);
        report.stills.push([time, barcode(video, context)]);
        await video.play();
        await until(() => report.frames.length > before + 4, `play from ${time}`, report);
        report.seeks.push([time, report.frames[report.frames.length - 1][0]]);
    };
    if (seeks) {
        await seek(Math.floor(video.duration * 0.7) + 0.06);
    }
    if (report.languages.length > 1) {
        attached.setAudio(1);
        await until(() => attached.switches.audio > 0, "audio switch", report);
    }
    if (seeks) {
        await seek(1.3);
    }
    if (!early) {
        // The lowest was played first.
        await switchTo(levels.slice(1).reverse());
    }
    video.playbackRate = 2;
    await until(() => report.ended, "the end", report, 25000);
    report.switches = attached.switches;
    report.end = video.currentTime;
    report.duration = video.duration;
    report.played = [];
    for (let i = 0; i < video.played.length; i++) {
        report.played.push([video.played.start(i), video.played.end(i)]);
    }
    return report;
}

window.run = run;
