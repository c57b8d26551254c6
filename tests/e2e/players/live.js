// Watches a live presentation as it comes, with each player's own settings, and reports what a
// viewer would have seen. Uses what player.js has for looking at pictures.

// Whatever begins at all has begun within this.
const BEGIN_MS = 30000;
// What has not moved for so long is at its end, or has stalled for good.
const STILL_MS = 2000;
// Later than that it is not over either.
const LATE_MS = 15000;

const LIVE = {
    hls: (video, url, report) => {
        const hls = new Hls({ enableWorker: false });
        hls.on(Hls.Events.ERROR, (_, data) => {
            const { type, details, fatal, error, frag } = data;
            const of = frag ? ` ${frag.type} ${frag.sn}` : "";
            report.errors.push(`${type} ${details}${of} fatal=${fatal} ${error ?? ""}`);
        });
        hls.loadSource(url);
        hls.attachMedia(video);
    },
    dash: (video, url, report) => {
        const player = dashjs.MediaPlayer().create();
        player.updateSettings({ debug: { logLevel: 0 } });
        const events = dashjs.MediaPlayer.events;
        for (const name of ["ERROR", "PLAYBACK_ERROR"]) {
            player.on(events[name], (event) => {
                const error = event.error ?? {};
                report.errors.push(`${name} ${error.code ?? ""} ${error.message ?? error}`);
            });
        }
        player.on(events.FRAGMENT_LOADING_ABANDONED, () => report.errors.push("abandoned"));
        player.initialize(video, url, true);
    },
    shaka: (video, url, report) => {
        const player = new shaka.Player();
        player.addEventListener("error", ({ detail }) => {
            const { category, code, data, severity } = detail;
            report.errors.push(`shaka ${category} ${code} severity=${severity} ${data?.join(" ")}`);
        });
        player.attach(video).then(() => player.load(url)).catch((error) => {
            report.errors.push(`shaka cannot load: ${error}`);
        });
    },
};
LIVE.smooth = LIVE.dash;


// Watches to the end of a presentation of as many seconds.
async function watch({ player, url, seconds, after }) {
    const video = document.querySelector("video");
    const context = canvasFor();
    const report = { player, errors: [], frames: [], stalls: [], ended: false };
    video.addEventListener("error", () => report.errors.push(`media ${video.error?.message}`));
    const look = () => {
        const picture = pictureOf(video, context);
        if (picture) {
            report.frames.push(picture);
        }
        video.requestVideoFrameCallback(look);
    };
    video.requestVideoFrameCallback(look);

    while ((await fetch("/begin", { cache: "no-store" })).status !== 200) {
        await wait(100);
    }
    await wait(after * 1000);
    LIVE[player](video, url, report);
    const given = performance.now();
    // Some players begin by themselves, and seek before they do.
    while (video.currentTime === 0 || video.paused || video.seeking) {
        if (performance.now() - given > BEGIN_MS) {
            const { currentTime, paused, seeking, readyState, buffered } = video;
            const ranges = [...Array(buffered.length).keys()]
                .map((at) => [buffered.start(at), buffered.end(at)]);
            report.errors.push(`did not begin: ${JSON.stringify(
                { currentTime, paused, seeking, readyState, ranges })}`);
            return report;
        }
        if (video.readyState >= 3 && video.paused) {
            await video.play();
        }
        await wait(20);
    }
    const begun = performance.now();
    report.begun = Date.now() / 1000;
    const from = video.currentTime;
    report.startup = (begun - given) / 1000;
    // When, at which media time, and for how long nothing moved, seconds.
    video.addEventListener("waiting", () => {
        if (!video.seeking) {
            report.stalls.push([(performance.now() - begun) / 1000, video.currentTime, null]);
        }
    });
    video.addEventListener("playing", () => {
        const stall = report.stalls.at(-1);
        if (stall && stall[2] === null) {
            stall[2] = (performance.now() - begun) / 1000 - stall[0];
        }
    });
    let [moved, at] = [begun, from];
    while (!isOver(video)) {
        const now = performance.now();
        if (video.currentTime !== at) {
            [moved, at] = [now, video.currentTime];
        }
        if (now - moved > STILL_MS || now - begun > seconds * 1000 + LATE_MS) {
            break;
        }
        await wait(50);
    }
    // Until it stood still.
    report.watched = (moved - begun) / 1000;
    report.from = from;
    report.to = video.currentTime;
    report.ended = isOver(video);
    report.decoded = video.getVideoPlaybackQuality().totalVideoFrames;
    report.played = [];
    for (let i = 0; i < video.played.length; i++) {
        report.played.push([video.played.start(i), video.played.end(i)]);
    }
    return report;
}

window.run = watch;
