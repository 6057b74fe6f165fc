"""Maven and Gradle: the wrapper where the repository has one, and what compiles the tests."""

from codexteam.environment import toolchains
from codexteam.environment.documents import Documents, join
from codexteam.environment.mirrors import MAVEN_FILE
from codexteam.environment.plan import (
    HOME,
    SETUP_USER_HOME,
    WRITTEN,
    Ecosystem,
    Offer,
    SetupStep,
    TestCommand,
    Toolchain,
)

_GRADLE_BUILDS = ("settings.gradle", "settings.gradle.kts", "build.gradle", "build.gradle.kts")
MANIFESTS = ("pom.xml", *_GRADLE_BUILDS)
#: What one mirror gave counts for every other: which one it was is the user's business.
_PLACE = f"-Dmaven.repo.local={HOME}/maven/repository -Daether.enhancedLocalRepository.trackingFilename=none"
#: Gradle writes into its home whatever it runs.
_GRADLE_HOME = f"{WRITTEN}/gradle"
#: The user's settings, with what they may hold of credentials: of this set-up alone.
_SETTINGS = (
    f"[ -r /run/secrets/{MAVEN_FILE} ] || exit 0\nmkdir -p {SETUP_USER_HOME}/.m2\n"
    f"ln -sf /run/secrets/{MAVEN_FILE} {SETUP_USER_HOME}/.m2/settings.xml"
)
_OFFLINE_SCRIPT = "if (System.getenv('CODEXTEAM_OFFLINE')) { gradle.startParameter.offline = true }"


def offer(documents: Documents, folder: str = "") -> Offer:
    """Return what a Maven or Gradle build needs; an empty offer where there is none."""
    maven = documents.has(join(folder, "pom.xml"))
    build = documents.first(folder, _GRADLE_BUILDS)
    if maven:
        return _maven(documents, folder)
    return _gradle(documents, folder, build) if build is not None else Offer()


def _toolchain(documents: Documents, programs: tuple[str, ...], source: str) -> Toolchain:
    wanted = toolchains.java(documents.view)
    return Toolchain(
        Ecosystem.JAVA,
        wanted.version,
        wanted.source or source,
        programs,
        f"install a JDK {wanted.version} (Debian: default-jdk, and maven), or use the docker engine, whose images have it",
    )


def _files(documents: Documents, folder: str, *names: str) -> tuple[str, ...]:
    prefix = f"{folder}/" if folder else ""
    return tuple(path for path in documents.view.paths if path.startswith(prefix) and path.rpartition("/")[2] in names)


def _maven(documents: Documents, folder: str) -> Offer:
    pom = join(folder, "pom.xml")
    wrapper = documents.has(join(folder, "mvnw"))
    # the machine's own first: the wrapper asks another host for a release
    choice = 'command -v mvn >/dev/null || mvn() { sh ./mvnw "$@"; }\n' if wrapper else ""
    reads = _files(documents, folder, "pom.xml", "maven.config", "extensions.xml", "maven-wrapper.properties")
    return Offer(
        (
            SetupStep(_SETTINGS, pom, Ecosystem.JAVA),
            SetupStep(f"{choice}mvn -B -ntp -q -DskipTests test-compile", pom, Ecosystem.JAVA, folder, reads),
        ),
        toolchains=(_toolchain(documents, ("java", "javac", *(() if wrapper else ("mvn",))), pom),),
        # releases before 3.9 know the second alone
        variables={"MAVEN_ARGS": _PLACE, "MAVEN_OPTS": _PLACE, "MAVEN_USER_HOME": f"{HOME}/maven"},
        setup_variables={"MAVEN_OPTS": f"{_PLACE} -Duser.home={SETUP_USER_HOME}"},
        offline_variables={"MAVEN_ARGS": f"{_PLACE} -o"},
        test_commands=(
            TestCommand("mvn -B -ntp test", pom, folder),
            *((TestCommand("./mvnw -B -ntp test", join(folder, "mvnw"), folder),) if wrapper else ()),
        ),
    )


def _gradle(documents: Documents, folder: str, build: str) -> Offer:
    wrapper = documents.has(join(folder, "gradlew"))
    program = "sh ./gradlew" if wrapper else "gradle"
    reads = _files(
        documents,
        folder,
        *_GRADLE_BUILDS,
        *("gradle.lockfile", "libs.versions.toml", "gradle.properties", "gradle-wrapper.properties"),
    )
    options = "--no-daemon --console=plain -q"
    script = f'mkdir -p {_GRADLE_HOME}/init.d && echo "{_OFFLINE_SCRIPT}" >{_GRADLE_HOME}/init.d/offline.gradle'
    return Offer(
        (
            SetupStep(script, build, Ecosystem.JAVA),
            SetupStep(f"{program} {options} testClasses", build, Ecosystem.JAVA, folder, reads),
        ),
        toolchains=(_toolchain(documents, ("java", "javac", *(() if wrapper else ("gradle",))), build),),
        variables={"GRADLE_USER_HOME": _GRADLE_HOME},
        offline_variables={"CODEXTEAM_OFFLINE": "1"},
        test_commands=(
            TestCommand(f"{'./gradlew' if wrapper else 'gradle'} --no-daemon --console=plain test", build, folder),
        ),
    )
