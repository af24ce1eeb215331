//! Several installations by their names: what a deployed stack says of itself is
//! enough for hubctl, without a variable of the operator's.

use journeys::{Ran, Stack};

/// Runs hubctl with AWS's variables and a home of its own, and nothing of the hub's.
async fn run(stack: &Stack, arguments: &[&str]) -> Ran {
    let mut command = stack.hubctl(arguments);
    let home = command.get_current_dir().unwrap().to_owned();
    command.env_clear().env("HOME", home);
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        command.env(name, stack.setting(name));
    }
    if arguments.contains(&"add") {
        command.env("AWS_REGION", stack.setting("AWS_REGION"));
        command.env("AWS_ENDPOINT_URL", stack.setting("AWS_ENDPOINT_URL"));
    }
    Ran::of(command).await
}

#[tokio::test]
async fn a_stack_is_known_by_a_name_and_forgotten() {
    let stack = Stack::new().await;
    let name = stack.setting("STACK_NAME");
    let added = run(&stack, &["profile", "add", "shop-1", "--stack", name]).await;
    assert_eq!(added.code, 0, "{}", added.err);
    let kept = run(&stack, &["profile", "list", "--json"]).await;
    assert_eq!(
        kept.out.split_whitespace().collect::<String>(),
        r#"["shop-1"]"#
    );

    let app = ["app", "show", stack.app.id.as_str(), "--json"];
    let shown = run(&stack, &[&["--profile", "shop-1"], &app[..]].concat()).await;
    assert_eq!(shown.code, 0, "{}", shown.err);
    assert!(shown.out.contains(stack.app.id.as_str()));
    let nowhere = run(&stack, &app).await;
    assert_eq!(nowhere.code, 2, "{}", nowhere.err);

    // What another profile says is not taken for the environment's.
    let other = [
        "--profile=no-such",
        "profile",
        "add",
        "shop-2",
        "--stack",
        name,
    ];
    assert_eq!(run(&stack, &other).await.code, 0);

    assert_eq!(run(&stack, &["profile", "remove", "shop-1"]).await.code, 0);
    let forgotten = run(&stack, &["--profile=shop-1", "app", "list"]).await;
    assert_eq!(forgotten.code, 3, "{}", forgotten.err);
    assert!(
        forgotten.err.contains("profile add shop-1"),
        "{}",
        forgotten.err
    );
    let none = run(
        &stack,
        &["profile", "add", "other", "--stack", "no-such-stack"],
    )
    .await;
    assert_eq!(none.code, 1, "{}", none.err);
}

#[tokio::test]
async fn a_shell_learns_hubctls_words() {
    let stack = Stack::new().await;
    let words = run(&stack, &["completions", "bash"]).await;
    assert_eq!(words.code, 0, "{}", words.err);
    assert!(words.out.contains("resend"), "{}", words.out.len());
}
