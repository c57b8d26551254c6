// Plays one presentation in the page that loads it and reports what a viewer would have seen.

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Where it seeks back to, seconds.
const BACK = 1.3;

// All sources have 25 frames per second.
const FRAME_SECONDS = 1 / 25;

// Waiting that long costs nothing where things happen; a loaded machine may need it.
const PATIENCE_MS = 75000;


// What each player is made of.
const SCRIPTS = {
    hls: ["/hls.js"],
    dash: ["/dash.js"],
    smooth: ["/dash.js", "/dash.mss.js"],
    shaka: ["/shaka.js"],
    file: [],
};


async function load(player) {
    for (const src of SCRIPTS[player]) {
        await new Promise((resolve, reject) => {
            const script = document.createElement("script");
            Object.assign(script, { src, onload: resolve });
            script.onerror = () => reject(new Error(`${src} is not there`));
            document.head.append(script);
        });
    }
}


// What is on screen: [its media time in seconds, the frame number that it carries], or null while
// there is no picture. See Barcode in tests/support/media.py. Time and picture are those of one
// frame, however late this is called: a canvas would show what has come since then.
function pictureOf(video, context) {
    if (video.readyState < 2) {
        return null;
    }
    const frame = new VideoFrame(video);
    const time = frame.timestamp / 1e6;
    context.drawImage(frame, 0, 0, 320, 180);
    frame.close();
    const row = context.getImageData(0, 12, 320, 1).data;
    let number = 0;
    for (let bit = 0; bit < 16; bit++) {
        if (row[(bit * 20 + 10) * 4] > 128) {
            number |= 1 << bit;
        }
    }
    return [time, number];
}


function canvasFor() {
    const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    context.canvas.width = 320;
    context.canvas.height = 180;
    return context;
}


// Goes to a time and stays there; returns the picture of that time once it is on screen.
async function still(video, context, time, report) {
    let picture = null;
    video.pause();
    video.currentTime = time;
    await until(() => {
        picture = video.seeking ? null : pictureOf(video, context);
        return picture && picture[0] <= time + 1e-6 && time < picture[0] + FRAME_SECONDS;
    }, () => `the picture of ${time} s, shown: ${picture}`, report);
    return picture;
}


function attachHls(video, url, report) {
    const hls = new Hls({ enableWorker: false, startLevel: 0 });
    const switches = { levels: 0, audio: 0 };
    hls.on(Hls.Events.ERROR, (_, data) => {
        // On a loaded machine media may come late. Of holes in it hls.js has other words.
        if (data.details === "bufferStalledError" && `${data.error}`.includes("low buffer")) {
            return;
        }
        // It gives up itself what is still coming when it is told to switch.
        if (data.details === Hls.ErrorDetails.INTERNAL_ABORTED && !data.fatal) {
            return;
        }
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
            // Between two parts of its buffer dash.js goes to the second before it has asked for
            // what is between them. A hole in the media is one that it does not come over.
            gaps: { jumpGaps: false },
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


async function until(condition, what, report) {
    const end = performance.now() + PATIENCE_MS;
    while (!condition()) {
        if (performance.now() > end) {
            const told = typeof what === "function" ? what() : what;
            const video = document.querySelector("video");
            const { currentTime, duration, ended, paused, playbackRate, readyState, seeking } = video;
            const buffered = [...Array(video.buffered.length).keys()].map(
                (at) => [video.buffered.start(at), video.buffered.end(at)],
            );
            const known = JSON.stringify({
                ...report, frames: report.frames?.slice(-3),
                video: {
                    currentTime, duration, ended, paused, playbackRate, readyState, seeking, buffered,
                },
            });
            throw new Error(`timed out: ${told}; ${known}`);
        }
        await wait(20);
    }
}


// Whether it was played to the end. dash.js goes there and pauses when it finds that next to nothing
// is left, for which the browser has no "ended".
function isOver(video) {
    return video.ended || (video.paused && video.duration - video.currentTime < 0.1);
}


// Plays to the end, on where a player has paused before it.
async function playOut(video, report) {
    await until(() => {
        if (video.paused && !isOver(video)) {
            video.play();
        }
        return isOver(video);
    }, "the end", report);
    report.ended = isOver(video);
}


const ATTACH = { hls: attachHls, file: attachFile, shaka: attachShaka };


// Plays from the start, seeks forwards and back, switches renditions, and plays to the end.
// early: switches before it seeks, and buffers little until then.
async function run({ player, url, seeks, early }) {
    await load(player);
    const video = document.querySelector("video");
    const context = canvasFor();
    const report = {
        player, early, errors: [], frames: [], stills: [], sizes: [], seeks: [], ended: false,
    };
    video.addEventListener("error", () => report.errors.push(`media ${video.error?.message}`));
    const onFrame = (_, { height }) => {
        const picture = pictureOf(video, context);
        if (picture) {
            report.frames.push(picture);
        }
        if (!report.sizes.includes(height)) {
            report.sizes.push(height);
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

    // Waits while it plays: where the end comes first, it goes back.
    const whilePlaying = (condition, what) => until(() => {
        if (video.currentTime > video.duration - 1) {
            video.currentTime = BACK;
            video.play();
        }
        return condition();
    }, what, report);
    const levels = report.levels.length > 1 ? [...report.levels.keys()] : [];
    const switchTo = async (wanted) => {
        for (const level of wanted) {
            const height = report.levels[level];
            report.sizes = report.sizes.filter((size) => size !== height);
            attached.setLevel(level);
            await whilePlaying(() => report.sizes.includes(height), `level ${level}`);
        }
    };
    if (early) {
        await switchTo(levels);
    }

    const seek = async (time) => {
        const [shown, number] = await still(video, context, time, report);
        report.stills.push([time, number]);
        report.seeks.push([time, shown]);
        const before = report.frames.length;
        await video.play();
        await until(() => report.frames.length > before + 4, `play from ${time}`, report);
    };
    if (seeks) {
        await seek(Math.floor(video.duration * 0.7) + 0.06);
        await seek(BACK);
    }
    if (report.languages.length > 1) {
        attached.setAudio(1);
        await whilePlaying(() => attached.switches.audio > 0, "audio switch");
    }
    if (!early) {
        // The lowest was played first.
        await switchTo(levels.slice(1).reverse());
    }
    video.playbackRate = 4;
    await playOut(video, report);
    report.switches = attached.switches;
    report.end = video.currentTime;
    report.duration = video.duration;
    report.decoded = video.getVideoPlaybackQuality().totalVideoFrames;
    report.played = [];
    for (let i = 0; i < video.played.length; i++) {
        report.played.push([video.played.start(i), video.played.end(i)]);
    }
    return report;
}

window.run = run;
